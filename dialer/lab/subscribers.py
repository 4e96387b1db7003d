"""Who answers at the carrier and how: the behaviours (one file each) and the table of numbers, read and checked."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dialer.errors import InvalidInput, Problem
from dialer.phone import E164

BEHAVIOURS_DIR = Path(__file__).parent / "behaviours"
DEFAULT_NUMBERS = Path(__file__).parent / "numbers.csv"
COLUMNS = ("number", "nth_invite", "behaviour", "args")

_SECONDS = re.compile(r"\d{1,3}(\.\d{1,3})?")
_KEYS = re.compile(r"[0-9*#]{1,20}(@\d{1,3}(\.\d{1,3})?)?")
_HEADER = re.compile(
    r"; (?P<summary>.+)\n; args:(?P<args>.*)\n"
    r"; expects: code=(?P<code>\d{3}) disposition=(?P<disposition>\w+) tries=(?P<tries>[\w,]*)(?P<repeats>\*?)\n"
)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a call to a behaviour must come to when the campaign is the example's."""

    final_code: int
    """The SIP status that ends the INVITE at the carrier."""
    disposition: str
    """A value of `dialer.calls.disposition.Disposition`."""
    tries: tuple[str, ...]
    """Values of `dialer.calls.results.TryOutcome`, in the order of the dialogue."""
    last_repeats: bool
    """The last of `tries` stands for itself and any number more: one a further question, or try, of the flow."""


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """One file of `behaviours/`: what a subscriber does, as a dialplan context of that name."""

    name: str
    summary: str
    args: tuple[str, ...]
    """The arguments it takes: `seconds`, or `keys` (last: groups of keys, one a question)."""
    expected: Expected
    dialplan: str


@dataclass(frozen=True, kw_only=True)
class Act:
    """A behaviour with its arguments, as the dialplan takes them."""

    behaviour: str
    args: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Subscriber:
    """One number and what it does at each INVITE."""

    number: str
    acts: Mapping[int, Act]
    """By INVITE, counted from 1 without a gap; empty when `otherwise` serves all."""
    otherwise: Act
    """For every INVITE that `acts` does not name."""

    def act(self, nth_invite: int) -> Act:
        """What happens at the nth INVITE (from 1)."""
        return self.acts.get(nth_invite, self.otherwise)


def load_behaviours(directory: Path = BEHAVIOURS_DIR) -> dict[str, Behaviour]:
    """Every behaviour, by name. A file's first three lines say what it does, takes and must produce."""
    return {path.stem: _behaviour(path) for path in sorted(directory.glob("*.conf"))}


def load_numbers(path: Path = DEFAULT_NUMBERS) -> list[Subscriber]:
    """The table `number,nth_invite,behaviour,args`, in the order of first mention.

    Raises InvalidInput with every problem, located.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the numbers in {path}: {error}") from error
    reader = csv.DictReader(text.splitlines(), restkey="more", restval="")
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise InvalidInput(f"the first line of {path} must be: {','.join(COLUMNS)}")
    table = _Table(str(path), load_behaviours())
    for row in reader:
        table.add(reader.line_num, row)
    subscribers = table.subscribers()
    if table.problems:
        raise InvalidInput(f"the numbers in {path} are not valid", table.problems)
    return subscribers


def _behaviour(path: Path) -> Behaviour:
    text = path.read_text(encoding="utf-8")
    header = _HEADER.match(text)
    if not header:
        raise InvalidInput(f"the first lines of {path} must be `; WHAT IT DOES`, `; args: …` and `; expects: …`")
    return Behaviour(
        name=path.stem,
        summary=header["summary"],
        args=tuple(header["args"].split()),
        expected=Expected(
            final_code=int(header["code"]),
            disposition=header["disposition"],
            tries=tuple(part for part in header["tries"].split(",") if part),
            last_repeats=bool(header["repeats"]),
        ),
        dialplan=text[header.end() :].strip("\n"),
    )


class _Table:
    def __init__(self, file: str, behaviours: Mapping[str, Behaviour]) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._behaviours = behaviours
        self._rows: dict[str, dict[str, tuple[int, Act]]] = defaultdict(dict)

    def add(self, line: int, row: Mapping[str, str]) -> None:
        number, nth, name = (row[column].strip() for column in COLUMNS[:3])
        if not E164.fullmatch(number):
            self._problem(
                line, "number", "bad-number", f"{number!r} is not an E.164 number", "write it as +48501234567"
            )
        nth_is_known = nth == "*" or bool(re.fullmatch(r"[1-9]\d{0,3}", nth))
        if not nth_is_known:
            fix = "write 1, 2, … for that call only, or * for every other"
            self._problem(line, "nth_invite", "bad-nth-invite", f"{nth!r} is not the count of a call", fix)
        if nth in self._rows[number]:
            other = self._rows[number][nth][0]
            self._problem(line, "number", "duplicate-row", f"line {other} says it already", "remove one of the two")
        args: tuple[str, ...] = ()
        if behaviour := self._behaviours.get(name):
            args = self._args(line, behaviour, row["args"].split())
        else:
            fix = f"choose one of: {', '.join(self._behaviours)}"
            self._problem(line, "behaviour", "unknown-behaviour", f"there is no behaviour {name!r}", fix)
        if "more" in row:
            self._problem(
                line, "", "too-many-columns", "the line has more than four columns", "remove what is too much"
            )
        self._rows[number][nth if nth_is_known else "*"] = (line, Act(behaviour=name, args=args))

    def subscribers(self) -> list[Subscriber]:
        return [self._subscriber(number, rows) for number, rows in self._rows.items()]

    def _subscriber(self, number: str, rows: Mapping[str, tuple[int, Act]]) -> Subscriber:
        acts = {int(nth): act for nth, (_, act) in sorted(rows.items()) if nth.isdigit()}
        if "*" in rows:
            return Subscriber(number=number, acts=acts, otherwise=rows["*"][1])
        if sorted(acts) != list(range(1, len(acts) + 1)):
            line = next(iter(rows.values()))[0]
            missing = next(nth for nth in range(1, len(acts) + 2) if nth not in acts)
            fix = f"add a row with nth_invite {missing}, or one with *"
            self._problem(line, "nth_invite", "missing-row", f"nothing says what call {missing} to {number} does", fix)
        return Subscriber(number=number, acts=acts, otherwise=acts[max(acts)] if acts else next(iter(rows.values()))[1])

    def _args(self, line: int, behaviour: Behaviour, given: Iterable[str]) -> tuple[str, ...]:
        words = list(given)
        args: list[str] = []
        for kind in behaviour.args:
            taken, words = (words, []) if kind == "keys" else (words[:1], words[1:])
            pattern = _KEYS if kind == "keys" else _SECONDS
            if not taken or not all(pattern.fullmatch(word) for word in taken):
                fix = "seconds are 3 or 2.5; keys are groups such as 1 12# 5@2.5, one a question"
                message = f"{behaviour.name} takes: {' '.join(behaviour.args)}"
                self._problem(line, "args", "bad-args", message, fix)
                return ()
            args.append("/".join(taken))
        if words:
            takes = " ".join(behaviour.args) or "nothing"
            self._problem(
                line, "args", "too-many-args", f"{behaviour.name} takes {takes}", f"remove {' '.join(words)!r}"
            )
        return tuple(args)

    def _problem(self, line: int, key: str, code: str, message: str, fix: str) -> None:
        self.problems.append(Problem(file=self._file, line=line, key=key, code=code, message=message, fix=fix))
