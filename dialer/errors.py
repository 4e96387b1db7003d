"""Every error a user can meet, in one tree; each carries its exit code and says what to do.

DialerError                 1  something failed
├── InvalidInput            2  the command or a file is wrong; holds located problems
├── RefusedBySafety         3  a safety rule says no
├── DatabaseAway            1  PostgreSQL cannot be reached or is not ready
├── AsteriskAway            1  the node's AMI cannot be reached, or refuses us
├── Fenced                  1  another engine has taken over the node
├── RestoredDatabase        3  the database lacks calls that this host knows of
├── WorkersAway             1  the FastAGI workers cannot be started or reached
└── LabError                1  the lab cannot be set up, started or found
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong in a user's file: where it is, a stable code, what it is and how to mend it."""

    file: str
    line: int | None
    key: str
    code: str
    message: str
    fix: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        key = f" {self.key}:" if self.key else ""
        return f"{where}:{key} {self.message} [{self.code}]\n    fix: {self.fix}"


class DialerError(Exception):
    """Something failed; the message says what to do."""

    exit_code = 1


class InvalidInput(DialerError):
    """A file or an option is wrong; nothing was started."""

    exit_code = 2

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class RefusedBySafety(DialerError):
    """A safety rule refuses what was asked; nobody is called."""

    exit_code = 3


class DatabaseAway(DialerError):
    """PostgreSQL cannot be reached or is not ready."""


class AsteriskAway(DialerError):
    """The node's manager interface (AMI) cannot be reached, or refuses us."""


class Fenced(DialerError):
    """Another engine has taken over the node: this one changes nothing any more, and ends."""


class RestoredDatabase(RefusedBySafety):
    """The database was restored from before calls that this host knows of; people would be called again."""


class WorkersAway(DialerError):
    """The FastAGI workers cannot be started or reached."""


class LabError(DialerError):
    """The lab cannot be set up, started or found."""
