"""Checks that the answers named in `retry` are answers that a question of the flow can give."""

from __future__ import annotations

from collections.abc import Iterator

from dialer.campaign.flow import can_answer
from dialer.campaign.flow_checks import FlowProblem
from dialer.campaign.model import Campaign


def problems(campaign: Campaign) -> Iterator[FlowProblem]:
    """Rules for answers that nobody can give: they would silently never apply."""
    questions = {name: step for name, step in campaign.flow.items() if step.ask is not None}
    for name, rules in campaign.retry.answers.items():
        key = ("retry", "answers", name)
        if name not in questions:
            yield FlowProblem(
                key=key,
                code="unknown-question",
                message=f"the flow has no question {name!r}",
                fix=f"name a step with `ask` ({', '.join(questions) or 'none yet'})",
            )
            continue
        for answer in rules:
            if not can_answer(questions[name], answer):
                yield FlowProblem(
                    key=(*key, answer),
                    code="impossible-answer",
                    message=f"{name} can never be answered with {answer!r}",
                    fix="write an answer as it stands in the report",
                )
