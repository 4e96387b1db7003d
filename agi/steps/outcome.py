"""Where a dialogue goes after a step: on, or to its end."""

from __future__ import annotations

from dataclasses import dataclass

from dialer.calls.results import FlowResult


@dataclass(frozen=True, kw_only=True)
class GoTo:
    """The dialogue goes on at a step; None is the end of the flow."""

    step: str | None


@dataclass(frozen=True, kw_only=True)
class Ends:
    """The dialogue is over, with this result."""

    result: FlowResult


@dataclass(frozen=True, kw_only=True)
class LeftOpen:
    """A question's tries ran out, and no step is named for that."""


Outcome = GoTo | Ends | LeftOpen
