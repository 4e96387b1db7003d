"""The flow as a graph: what follows a step, what is said, and what keys are worth."""

from __future__ import annotations

from collections.abc import Iterator

from dialer.campaign import moments
from dialer.campaign.model import Campaign, Prompt, Recording, Step

CLOCK_DIGITS = (3, 4)
"""A time is typed as 1730, or as 930 and #."""


# -- walking ------------------------------------------------------------------------------------------------------


def first_step(campaign: Campaign) -> str:
    """Where every dialogue begins: the first step in the file."""
    return next(iter(campaign.flow))


def successor(campaign: Campaign, step_name: str, value: str | None = None) -> str | None:
    """The step after this one, for the answer `value` (a menu's value is the chosen step); None is the end."""
    step = campaign.flow[step_name]
    if step.goto is not None:
        return step.goto
    if step.hangup is not None or step.opt_out is not None:
        return None
    if step.menu is not None:
        return value
    if isinstance(step.next, str):
        return step.next
    if step.next is not None and value in step.next:
        return step.next[value]
    return next_in_file(campaign, step_name)


def may_follow(campaign: Campaign, step_name: str) -> set[str]:
    """Every step that can come right after this one, names that do not exist included."""
    step = campaign.flow[step_name]
    if step.menu is not None:
        targets = {*(step.keys or {}).values(), step.otherwise}
    elif step.ask is not None:
        answers = (step.keys or {}).values()
        fallback = None if answers and isinstance(step.next, dict) else successor(campaign, step_name)
        targets = {successor(campaign, step_name, answer) for answer in answers} | {fallback, step.otherwise}
        targets |= set(step.next.values()) if isinstance(step.next, dict) else set()
    else:
        targets = {successor(campaign, step_name), step.otherwise}
    return {name for name in targets if name is not None}


def next_in_file(campaign: Campaign, step_name: str) -> str | None:
    """The step that stands below this one; None: it is the last."""
    names = iter(campaign.flow)
    for name in names:
        if name == step_name:
            return next(names, None)
    return None


def listens(step: Step) -> bool:
    """Whether a step waits for keys."""
    return step.word in ("ask", "menu") or (step.callback is not None and step.after is None)


def prompts(step: Step) -> Iterator[tuple[str, Prompt]]:
    """Everything that a step may say, with its key."""
    for key in ("say", "ask", "menu", "opt_out", "callback", "on_silence", "on_wrong"):
        prompt = getattr(step, key)
        if prompt is not None:
            yield key, prompt


def language_for(campaign: Campaign, wanted: str | None) -> str:
    """The language to speak to a person: theirs, else its base (en for en-GB), else the campaign's first."""
    base = (wanted or "").replace("_", "-")
    for candidate in (base, base.lower(), base.partition("-")[0].lower()):
        if candidate in campaign.languages:
            return candidate
    return campaign.languages[0]


def said(prompt: Prompt, language: str) -> str | Recording:
    """What a prompt is in a language: a text (fields not yet filled in) or a recorded file."""
    return prompt[language] if isinstance(prompt, dict) else prompt


# -- keys ---------------------------------------------------------------------------------------------------------


def digit_counts(step: Step) -> tuple[int, int]:
    """The fewest and the most keys that answer a question."""
    if step.keys is not None:
        lengths = [len(key) for key in step.keys]
        return min(lengths), max(lengths)
    if step.callback is not None:
        return CLOCK_DIGITS
    fewest, _, most = (step.digits or "1").partition("-")
    return int(fewest), int(most or fewest)


def number_range(step: Step) -> tuple[int, int] | None:
    """The allowed numbers of a `digits` question, both included; None when every number is."""
    if step.range is None:
        return None
    low, _, high = step.range.partition("-")
    return int(low), int(high)


def number_answer(step: Step, digits: str) -> str | None:
    """The answer that digits give at a `digits` question; None outside its range.

    With a range it is a number, so `05` is 5; without one it is a code, and zeros in front count. At a callback it is a
    time of day, `17:30`.
    """
    if step.callback is not None:
        return moments.clock_time(digits)
    allowed = number_range(step)
    if allowed is None:
        return digits
    number = int(digits)
    return str(number) if allowed[0] <= number <= allowed[1] else None


def can_answer(step: Step, answer: str) -> bool:
    """Whether a question can be answered so."""
    if step.keys is not None:
        return answer in step.keys.values()
    if not (answer.isascii() and answer.isdigit()):
        return False
    fewest, most = digit_counts(step)
    if number_range(step) is not None:
        # 5 can be typed as 05 where two digits are wanted.
        return len(answer) <= most and number_answer(step, answer) == answer
    return fewest <= len(answer) <= most
