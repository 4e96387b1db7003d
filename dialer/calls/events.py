"""What can happen to an attempt, as values; `ami.translate` and the engine make them, `calls.states` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dialer.calls.results import DialogueEnd


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """Asterisk acknowledged the Originate: a thread of it will place the call."""

    at: datetime


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Asterisk answered the Originate with an error: it places no call."""

    at: datetime
    message: str


@dataclass(frozen=True, kw_only=True)
class Unclear:
    """Nobody knows whether Asterisk received the Originate: no answer, or the link was lost."""

    at: datetime


@dataclass(frozen=True, kw_only=True)
class Created:
    """Asterisk made the channel (Newchannel)."""

    at: datetime


@dataclass(frozen=True, kw_only=True)
class Ringing:
    """The far end rings (180 or 183)."""

    at: datetime


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The far end answered (200)."""

    at: datetime


@dataclass(frozen=True, kw_only=True)
class Responded:
    """OriginateResponse. Comes before or after Hangup; reason 3 is our own ring limit, 4 an answer (pbx.c)."""

    at: datetime
    success: bool
    reason: int


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """Asterisk ends the call for us, because an operator stops the campaign at once."""

    at: datetime


@dataclass(frozen=True, kw_only=True)
class HungUp:
    """The channel is gone: Q.850 cause, and the SIP status where there was one."""

    at: datetime
    cause: int
    tech_cause: int | None


@dataclass(frozen=True, kw_only=True)
class FlowEnded:
    """The dialogue's result reached the database."""

    end: DialogueEnd


@dataclass(frozen=True, kw_only=True)
class GaveUp:
    """What the verdict was waiting for did not come in time."""

    at: datetime


@dataclass(frozen=True, kw_only=True)
class Returned:
    """The claim was given back: nothing was sent to Asterisk, and nothing will be."""

    at: datetime


@dataclass(frozen=True, kw_only=True)
class Unwatched:
    """The link to the node was lost: what happens to the call until it is back, nobody sees."""

    at: datetime


@dataclass(frozen=True, kw_only=True)
class Unplaced:
    """It is proven that no call was made: one run of Asterisk, a complete record of it, and no trace there."""

    at: datetime


@dataclass(frozen=True, kw_only=True)
class Vanished:
    """The node has no channel for it any more, and nobody saw how it went."""

    at: datetime


CallEvent = (
    Accepted | Refused | Returned | Unclear | Unwatched | Created | Ringing | Answered | Responded | Cancelled | HungUp
    | Vanished | Unplaced | FlowEnded | GaveUp
)  # fmt: skip
