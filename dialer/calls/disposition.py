"""Our verdict on an attempt, from what is known when it ends; the tables below are the policy.

Order of evidence: our own refusal, the dialogue's result, our ring limit, the SIP status, the Q.850 cause.
Status codes are RFC 3261's (607: RFC 8197, 608: RFC 8688), causes ITU-T Q.850's; where they meet is Asterisk's
own mapping (res_pjsip.c, ast_sip_hangup_sip2cause). What nobody listed becomes `unknown`, the loud bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dialer.calls.results import FlowResult


class Disposition(Enum):
    """What an attempt came to; the values stand in tables, reports and `retry:`."""

    COMPLETED = "completed"
    PARTIAL = "partial"
    """Some answers, then the dialogue ended or the person hung up."""
    REFUSED = "refused"
    NO_INPUT = "no_input"
    HUNG_UP = "hung_up"
    """Answered and hung up before the first answer."""
    DIALOGUE_ERROR = "dialogue_error"
    """Answered, but our script failed or never started."""
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    UNREACHABLE = "unreachable"
    REJECTED = "rejected"
    BLOCKED = "blocked"
    INVALID_NUMBER = "invalid_number"
    NUMBER_CHANGED = "number_changed"
    TRUNK_REFUSED = "trunk_refused"
    CONGESTION = "congestion"
    OUT_OF_ORDER = "out_of_order"
    MEDIA_ERROR = "media_error"
    RTP_LOST = "rtp_lost"
    NOT_PLACED = "not_placed"
    """Asterisk refused the Originate, failed before it made a channel, or provably never had it: no INVITE left."""
    CANCELLED = "cancelled"
    """An operator stopped the campaign at once, and we hung up before anybody had answered."""
    RETURNED = "returned"
    """Claimed and given back: nothing was sent; the contact is due again at once."""
    UNKNOWN = "unknown"
    """It may have been placed; there is no evidence of how it went."""


class Blame(Enum):
    """Whose doing an ending is."""

    NOBODY = "nobody"
    PERSON = "person"
    TRUNK = "trunk"
    OURS = "ours"
    UNCLEAR = "unclear"


D = Disposition

BLAME: dict[Disposition, Blame] = {
    D.COMPLETED: Blame.NOBODY,
    **dict.fromkeys(
        (D.PARTIAL, D.REFUSED, D.NO_INPUT, D.HUNG_UP, D.BUSY, D.NO_ANSWER, D.UNREACHABLE, D.REJECTED, D.BLOCKED,
         D.INVALID_NUMBER, D.NUMBER_CHANGED, D.OUT_OF_ORDER), Blame.PERSON),
    **dict.fromkeys((D.TRUNK_REFUSED, D.CONGESTION, D.RTP_LOST), Blame.TRUNK),
    **dict.fromkeys((D.DIALOGUE_ERROR, D.MEDIA_ERROR, D.NOT_PLACED, D.CANCELLED, D.RETURNED),
                    Blame.OURS),
    D.UNKNOWN: Blame.UNCLEAR,
}  # fmt: skip

UNCOUNTED = frozenset({D.TRUNK_REFUSED, D.CONGESTION, D.MEDIA_ERROR, D.NOT_PLACED, D.RETURNED})
"""These do not use up the person's attempts: nothing rang there, and it was not the person's doing."""

FLOW: dict[FlowResult, Disposition] = {
    FlowResult.COMPLETED: D.COMPLETED,
    FlowResult.PARTIAL: D.PARTIAL,
    FlowResult.REFUSED: D.REFUSED,
    FlowResult.NO_INPUT: D.NO_INPUT,
    FlowResult.HUNG_UP: D.HUNG_UP,
    FlowResult.ERROR: D.DIALOGUE_ERROR,
}

SIP: dict[int, Disposition] = {
    301: D.NUMBER_CHANGED, 302: D.REJECTED, 401: D.TRUNK_REFUSED, 402: D.TRUNK_REFUSED, 403: D.TRUNK_REFUSED,
    404: D.INVALID_NUMBER, 407: D.TRUNK_REFUSED, 408: D.CONGESTION, 410: D.NUMBER_CHANGED, 415: D.MEDIA_ERROR,
    480: D.NO_ANSWER, 484: D.INVALID_NUMBER, 485: D.INVALID_NUMBER, 486: D.BUSY, 488: D.MEDIA_ERROR,
    500: D.CONGESTION, 502: D.OUT_OF_ORDER, 503: D.CONGESTION, 504: D.CONGESTION, 600: D.BUSY, 603: D.REJECTED,
    604: D.INVALID_NUMBER, 606: D.MEDIA_ERROR, 607: D.BLOCKED, 608: D.BLOCKED,
}  # fmt: skip

Q850: dict[int, Disposition] = {
    1: D.INVALID_NUMBER, 3: D.INVALID_NUMBER, 17: D.BUSY, 18: D.NO_ANSWER, 19: D.NO_ANSWER, 20: D.UNREACHABLE,
    21: D.REJECTED, 22: D.NUMBER_CHANGED, 23: D.NUMBER_CHANGED, 27: D.OUT_OF_ORDER, 28: D.INVALID_NUMBER,
    34: D.CONGESTION, 38: D.CONGESTION, 41: D.CONGESTION, 42: D.CONGESTION, 44: D.CONGESTION, 47: D.CONGESTION,
    52: D.TRUNK_REFUSED, 57: D.TRUNK_REFUSED, 58: D.MEDIA_ERROR, 65: D.MEDIA_ERROR, 88: D.MEDIA_ERROR,
    102: D.CONGESTION,
}  # fmt: skip

RTP_TIMEOUT = 44
"""Asterisk itself hung up: the far end sent no sound for a minute (res_pjsip_sdp_rtp.c, rtp_timeout)."""
OUR_RING_LIMIT = 3
"""OriginateResponse's reason when the Timeout of our Originate ran out (pbx.c, pbx_dial_reason)."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of an attempt when it ends."""

    refused: bool = False
    returned: bool = False
    unplaced: bool = False
    cancelled: bool = False
    channel_seen: bool = False
    watched: bool = True
    answered: bool = False
    rang: bool = False
    flow: FlowResult | None = None
    answers: int = 0
    originate_reason: int | None = None
    tech_cause: int | None = None
    cause: int | None = None


def verdict(facts: Facts) -> Disposition:
    """The disposition of an ended attempt."""
    if facts.returned:
        return D.RETURNED
    if facts.refused or facts.unplaced:
        return D.NOT_PLACED
    if facts.answered:
        return _of_answered(facts)
    if facts.originate_reason == OUR_RING_LIMIT:
        # A carrier that never says even 180 is a dead trunk, not a person who does not answer. Who was not watching
        # does not know whether it rang, and takes it that it did: an attempt too many is harm.
        return D.NO_ANSWER if facts.rang or not facts.watched else D.CONGESTION
    if facts.cancelled and facts.watched and facts.tech_cause not in SIP:
        return D.CANCELLED
    if facts.originate_reason is not None and facts.watched and not facts.channel_seen:
        # The order failed, and no channel was made for it in all that time: no INVITE left.
        return D.NOT_PLACED
    if facts.tech_cause == 408 and facts.rang:
        return D.UNREACHABLE
    if facts.tech_cause in SIP:
        return SIP[facts.tech_cause]
    if facts.cause in Q850:
        return Q850[facts.cause]
    return D.UNKNOWN


def _of_answered(facts: Facts) -> Disposition:
    if facts.flow is None:
        return D.DIALOGUE_ERROR
    if facts.flow is FlowResult.HUNG_UP and facts.cause == RTP_TIMEOUT:
        return D.RTP_LOST
    if facts.flow is FlowResult.HUNG_UP and facts.answers:
        return D.PARTIAL
    return FLOW[facts.flow]
