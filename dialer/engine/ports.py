"""What the engine needs from below, as protocols: rules meet wires only through these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from dialer.calls.attempt import Attempt
from dialer.calls.events import Accepted, CallEvent, Refused, Unclear
from dialer.calls.results import DialogueEnd
from dialer.storage.attempts import ContactChange, Totals
from dialer.storage.claims import Claim, ClaimResult


class StoreAway(Exception):
    """The store cannot be reached now; what was asked may or may not have been done."""


class Order(Protocol):
    """An attempt as a telephony port submits it."""


class Telephony(Protocol):
    """One node's calls."""

    @property
    def is_up(self) -> bool:
        """Whether calls may be ordered now."""
        ...

    async def originate(self, attempt: Attempt) -> Accepted | Refused | Unclear:
        """Places one call, once."""
        ...

    async def next_events(self) -> list[tuple[UUID, CallEvent]]:
        """Waits, then everything that has come, in order; may be empty."""
        ...

    async def live_calls(self) -> dict[UUID, list[CallEvent]] | None:
        """Our channels on the node and what their states say; None when the node cannot be asked."""
        ...

    async def keep_up(self, on_up: Callable[[], Awaitable[None]], on_down: Callable[[], None]) -> None:
        """Keeps the session with the node until cancelled."""
        ...
