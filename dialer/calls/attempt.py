"""One dial of one number: who, through what, where it is, and when each milestone was reached (None: never)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

from dialer.calls.disposition import OUR_RING_LIMIT, Disposition
from dialer.calls.results import DialogueEnd

SILENT_AFTER = timedelta(seconds=2)
"""An answered call without a sound for longer is a silent call: what regulators call abandoned (47 CFR 64.1200(a)(7),
Ofcom's persistent misuse policy)."""


class State(Enum):
    """Where an attempt is."""

    SUBMITTING = "submitting"
    """The row is committed; Originate is about to be sent, or was, and is not acknowledged."""
    UNCLEAR = "unclear"
    """Originate may have been sent; number and slot are kept until there is evidence."""
    ACCEPTED = "accepted"
    """Asterisk took it; nothing rings yet."""
    RINGING = "ringing"
    ANSWERED = "answered"
    CLOSING = "closing"
    """The channel is gone; the verdict waits for the dialogue's result or for Asterisk's reason."""
    ENDED = "ended"
    """There is a verdict."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt as the engine holds it and the table stores it."""

    id: UUID
    tenant_id: str
    campaign_id: int
    revision_id: int
    contact_id: int
    number: str
    wave: int
    node: str
    trunk: str
    submitting_at: datetime
    caller_id: str = ""
    """The number shown to the person; empty in attempts of older releases."""
    epoch: int = 0
    """Under which lease of the node it was claimed: who may still change it."""
    boot: str = ""
    """Which run of Asterisk it was claimed for; empty when that was not known."""
    state: State = State.SUBMITTING
    accepted_at: datetime | None = None
    ringing_at: datetime | None = None
    answered_at: datetime | None = None
    hung_up_at: datetime | None = None
    ended_at: datetime | None = None
    originate_reason: int | None = None
    cause: int | None = None
    tech_cause: int | None = None
    refusal: str | None = None
    returned: bool = False
    unplaced: bool = False
    """It is proven that Asterisk never made a call of it."""
    cancelled: bool = False
    """Asterisk ends it for us, before anybody has answered."""
    channel_seen: bool = False
    """Whether Asterisk ever made a channel for it."""
    watched: bool = True
    """Whether one session with the node saw everything since the submission; else silence proves nothing."""
    flow: DialogueEnd | None = None
    first_audio_at: datetime | None = None
    """When the first prompt was begun, as its worker says."""
    disposition: Disposition | None = None
    counted: bool | None = None
    """Whether it used up one of the person's attempts (waves.counts); None while it is open: it may yet."""
    seq: int = 0
    """How many events of this attempt the log holds."""

    @property
    def holds_slot(self) -> bool:
        """Whether there may be a channel of it."""
        return self.state not in (State.CLOSING, State.ENDED)

    @property
    def given_up(self) -> bool:
        """Whether our ring limit ended it; the SIP status of such a call is Asterisk's own invention (480)."""
        return self.originate_reason == OUR_RING_LIMIT and self.answered_at is None

    @property
    def was_silent(self) -> bool:
        """Whether somebody answered, stayed, and heard nothing for so long that they were called by silence."""
        if self.answered_at is None:
            return False
        until = self.first_audio_at or self.hung_up_at
        return until is not None and until - self.answered_at > SILENT_AFTER
