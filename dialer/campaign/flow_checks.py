"""Everything that is wrong with a flow before the first call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dialer.campaign import personal
from dialer.campaign.flow import (
    can_answer,
    digit_counts,
    first_step,
    listens,
    may_follow,
    next_in_file,
    number_range,
    prompts,
    successor,
)
from dialer.campaign.model import Campaign, Prompt, Recording, Step

MAX_TEXT_CHARS = 3000
"""About four minutes of speech; a longer text is a mistake."""
MAX_DIGITS = 20


@dataclass(frozen=True, kw_only=True)
class FlowProblem:
    """One thing wrong in a flow: where it stands in the file, a stable code, what it is and how to mend it."""

    key: tuple[str, ...]
    code: str
    message: str
    fix: str


def problems(campaign: Campaign) -> list[FlowProblem]:
    """Everything wrong with the flow, in the order of the file, then what concerns it as a whole."""
    found: list[FlowProblem] = []
    for name, step in campaign.flow.items():
        found += _target_problems(campaign, name, step)
        for key, prompt in prompts(step):
            found += _prompt_problems(campaign, ("flow", name, key), prompt)
        found += _key_problems(name, step) if step.keys is not None else []
        found += _digit_problems(name, step) if step.digits is not None else []
    return found + _falls_into_opt_out(campaign) + _unreachable(campaign) + _endless(campaign)


def _target_problems(campaign: Campaign, name: str, step: Step) -> Iterator[FlowProblem]:
    places: list[tuple[tuple[str, ...], str | None]] = [(("goto",), step.goto), (("otherwise",), step.otherwise)]
    if isinstance(step.next, dict):
        places += [(("next", answer), target) for answer, target in step.next.items()]
        yield from _answer_problems(name, step, step.next)
    else:
        places.append((("next",), step.next))
    if step.menu is not None:
        places += [(("keys", key), target) for key, target in (step.keys or {}).items()]
    for place, target in places:
        if target is not None and target not in campaign.flow:
            yield FlowProblem(
                key=("flow", name, *place),
                code="unknown-step",
                message=f"there is no step {target!r}",
                fix=f"name one of {', '.join(campaign.flow)}, or add the step",
            )


def _answer_problems(name: str, step: Step, targets: dict[str, str]) -> Iterator[FlowProblem]:
    if step.ask is None:
        yield FlowProblem(
            key=("flow", name, "next"),
            code="next-without-answer",
            message=f"{step.word!r} gives no answer, so `next` cannot depend on one",
            fix="write the name of one step, as `next: goodbye`",
        )
        return
    for answer in targets:
        if not can_answer(step, answer):
            possible = ", ".join(dict.fromkeys(step.keys.values())) if step.keys else "the numbers it allows"
            yield FlowProblem(
                key=("flow", name, "next", answer),
                code="impossible-answer",
                message=f"the question can never be answered with {answer!r}",
                fix=f"its answers are {possible}",
            )


def _prompt_problems(campaign: Campaign, key: tuple[str, ...], prompt: Prompt) -> Iterator[FlowProblem]:
    if not isinstance(prompt, dict):
        yield from _text_problems(campaign, key, prompt)
        return
    for language in campaign.languages:
        if language not in prompt:
            yield FlowProblem(
                key=key,
                code="missing-language",
                message=f"there is no text in {language!r}, which stands in `languages`",
                fix=f'add `{language}: "..."`, or take {language} out of `languages`',
            )
    for language, item in prompt.items():
        if language not in campaign.languages:
            yield FlowProblem(
                key=(*key, language),
                code="unused-language",
                message=f"nobody will hear {language!r}: it is not in `languages`",
                fix=f"add {language} to `languages`, or remove this text",
            )
        yield from _text_problems(campaign, (*key, language), item)


def _text_problems(campaign: Campaign, key: tuple[str, ...], text: str | Recording) -> Iterator[FlowProblem]:
    if isinstance(text, Recording):
        return

    def problem(code: str, message: str, fix: str) -> FlowProblem:
        return FlowProblem(key=key, code=code, message=message, fix=fix)

    if not text.strip():
        yield problem("empty-text", "the text is empty: the person would hear silence", "write what is to be said")
    if len(text) > MAX_TEXT_CHARS:
        yield problem("text-too-long", f"the text has {len(text)} characters; nobody listens to more than "
                      f"{MAX_TEXT_CHARS}", "shorten it, or split it into several steps")  # fmt: skip
    try:
        missing = personal.unknown(text, campaign.contacts.field_names)
    except ValueError as error:
        yield problem("bad-braces", f"{error}", "write {name} for a field, and {{ or }} for a brace that is spoken")
        return
    for name in missing:
        fields = ", ".join(campaign.contacts.field_names) or "none yet"
        yield problem("unknown-field", f"{{{name}}} is not a field of the contacts",
                      f"use one of contacts.fields ({fields}), or add {name} there")  # fmt: skip


def _key_problems(name: str, step: Step) -> Iterator[FlowProblem]:
    keys = sorted(step.keys or {})
    for key in keys:
        place = ("flow", name, "keys", key)
        if "#" in key and key != "#":
            yield FlowProblem(
                key=place,
                code="hash-in-keys",
                message=f"{key!r} can never be pressed: # ends the input",
                fix="use digits and *, or # alone",
            )
        longer = [other for other in keys if other != key and other.startswith(key)]
        if longer and key != "#":
            yield FlowProblem(
                key=place,
                code="ambiguous-keys",
                message=f"{key!r} is the beginning of {longer[0]!r}: only waiting would tell them apart",
                fix="use keys of which none begins with another",
            )


def _digit_problems(name: str, step: Step) -> Iterator[FlowProblem]:
    fewest, most = digit_counts(step)
    if not 1 <= fewest <= most <= MAX_DIGITS:
        yield FlowProblem(
            key=("flow", name, "digits"),
            code="bad-digits",
            message=f"{step.digits!r} is not a number of digits, or a span from fewer to more, from 1 to {MAX_DIGITS}",
            fix="write for example `digits: 4` or `digits: 1-2`",
        )
        return
    allowed = number_range(step)
    if allowed is None:
        return
    low, high = allowed
    if low > high:
        yield FlowProblem(
            key=("flow", name, "range"),
            code="bad-range",
            message=f"{step.range!r} goes from a larger number to a smaller one",
            fix=f"write `range: {high}-{low}`",
        )
    elif not fewest <= len(str(high)) <= most:
        yield FlowProblem(
            key=("flow", name, "range"),
            code="range-and-digits",
            message=f"{high} has {len(str(high))} digits, but the question takes {step.digits}",
            fix=f"write `digits: {min(fewest, len(str(low)))}-{len(str(high))}`, or another range",
        )


def _reachable(campaign: Campaign, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in campaign.flow:
            continue
        seen.add(name)
        waiting.extend(may_follow(campaign, name))
    return seen


def _unreachable(campaign: Campaign) -> list[FlowProblem]:
    reached = _reachable(campaign, first_step(campaign))
    return [
        FlowProblem(
            key=("flow", name),
            code="unreachable-step",
            message=f"no step leads to {name!r}",
            fix=f"name {name} in a `next`, `goto`, `otherwise` or menu, or remove it",
        )
        for name in campaign.flow
        if name not in reached
    ]


def _falls_into_opt_out(campaign: Campaign) -> list[FlowProblem]:
    """Steps that go on at an `opt_out` only because it is the next one: everybody who came so far would be listed."""
    return [
        FlowProblem(
            key=("flow", name),
            code="falls-into-opt-out",
            message=f"{name!r} goes on at {following!r}, the next step in the file, and that is an opt-out: whoever "
            "comes here would not be called any more",
            fix=f"say where {name!r} goes on, as `next: {following}`; or end the call before with a `hangup`",
        )
        for name, step in campaign.flow.items()
        if (following := next_in_file(campaign, name)) is not None
        and campaign.flow[following].opt_out is not None
        and _goes_on_by_itself(step)
    ]


def _goes_on_by_itself(step: Step) -> bool:
    """Whether the next step in the file may follow without being named."""
    if step.word in ("goto", "hangup", "opt_out", "menu") or isinstance(step.next, str):
        return False
    return step.next is None or step.keys is None or not set(step.keys.values()) <= step.next.keys()


def _endless(campaign: Campaign) -> list[FlowProblem]:
    """Loops in which no step listens: each has one way on, so such a loop never ends."""
    found: list[FlowProblem] = []
    known: set[str] = set()
    for start in campaign.flow:
        path: list[str] = []
        name: str | None = start
        while name in campaign.flow and name not in path and not listens(campaign.flow[name]):
            path.append(name)
            name = successor(campaign, name)
        if name in path:
            loop = path[path.index(name) :]
            if known.isdisjoint(loop):
                found.append(FlowProblem(
                    key=("flow", loop[0]),
                    code="endless-loop",
                    message=f"{' → '.join([*loop, loop[0]])} never ends: nothing in it listens to the person",
                    fix="put an `ask` or a `menu` into the loop, or lead out of it",
                ))  # fmt: skip
            known.update(loop)
    return found
