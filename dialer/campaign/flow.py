"""The flow as a graph: what follows a step, what keys are worth, and everything that is wrong with it before a call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dialer.campaign import moments, personal
from dialer.campaign.model import Campaign, Prompt, Recording, Step

MAX_TEXT_CHARS = 3000
"""About four minutes of speech; a longer text is a mistake."""
MAX_DIGITS = 20
CLOCK_DIGITS = (3, 4)
"""A time is typed as 1730, or as 930 and #."""


@dataclass(frozen=True, kw_only=True)
class FlowProblem:
    """One thing wrong in a flow: where it stands in the file, a stable code, what it is and how to mend it."""

    key: tuple[str, ...]
    code: str
    message: str
    fix: str


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
    return _following(campaign, step_name)


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


def _following(campaign: Campaign, step_name: str) -> str | None:
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


# -- checks -------------------------------------------------------------------------------------------------------


def problems(campaign: Campaign) -> list[FlowProblem]:
    """Everything wrong with the flow, in the order of the file, then what concerns it as a whole."""
    found: list[FlowProblem] = []
    for name, step in campaign.flow.items():
        found += _target_problems(campaign, name, step)
        for key, prompt in prompts(step):
            found += _prompt_problems(campaign, ("flow", name, key), prompt)
        found += _key_problems(name, step) if step.keys is not None else []
        found += _digit_problems(name, step) if step.digits is not None else []
    return found + _unreachable(campaign) + _endless(campaign)


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
