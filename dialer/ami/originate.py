"""One attempt to Asterisk as one Originate, once; the outcome is accepted, refused or unclear, never "try again"."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from dialer import names, phone
from dialer.ami.link import AmiLink, Headers, LinkLost, NotSent
from dialer.calls.events import Accepted, Refused, Returned, Unclear
from dialer.calls.order import Order

MESSAGE_LENGTH = 200

_TRUNK = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def headers(order: Order, token: str) -> dict[str, str | list[str]]:
    """The Originate action. Raises ValueError when a number or trunk is not what a dial string may hold.

    `Async` is needed: without it panoramisk drops the link. ChannelId makes Asterisk refuse a second live channel
    with the same id. EarlyMedia stays off: with it a 183 counts as an answer (pbx.c).
    """
    if not phone.E164.fullmatch(order.number) or not phone.E164.fullmatch(order.caller_id):
        raise ValueError("only E.164 numbers are dialled")
    dial = order.number if order.dial is None else order.dial
    show = order.caller_id if order.show is None else order.show
    if not phone.DIALLED.fullmatch(dial) or not phone.DIALLED.fullmatch(show):
        raise ValueError("a trunk's format may write a number with digits, * and # alone")
    if not _TRUNK.fullmatch(order.trunk):
        raise ValueError(f"{order.trunk!r} is no trunk name")
    identity = names.channel_id(order.attempt_id)
    return {
        "Action": "Originate",
        "ActionID": identity,
        "ChannelId": identity,
        "Channel": f"PJSIP/{dial}@{order.trunk}",
        "Context": names.FLOW_CONTEXT,
        "Exten": "s",
        "Priority": "1",
        "Timeout": str(order.ring_s * 1000),
        "CallerID": f"<{show}>",
        "Async": "true",
        "Variable": [
            f"{names.ATTEMPT_VARIABLE}={token}",
            # A redirect (302) would otherwise be dialled in the channel's own context.
            f"FORWARD_CONTEXT={names.DEAD_END_CONTEXT}",
        ],
    }


async def originate(
    link: AmiLink, order: Order, token: str, now: Callable[[], datetime]
) -> Accepted | Refused | Returned | Unclear:
    """Submits an attempt once; `token` is its signed id. What may have been done without an answer is unclear."""
    try:
        action = headers(order, token)
    except ValueError as error:
        return Refused(at=now(), message=str(error))
    # The acknowledgement is dated by the sending: this task may run behind events that came with the answer, and the
    # call would seem to have rung before Asterisk took it.
    sent_at = now()
    try:
        answer = await link.send(action)
    except NotSent:
        return Returned(at=now())
    except LinkLost:
        return Unclear(at=now())
    if answer.get("response") == "Error":
        return Refused(at=now(), message=_said(answer))
    return Accepted(at=sent_at)


def mark(mark_id: str) -> dict[str, str | list[str]]:
    """The action that makes a mark: a channel that calls nobody, is never answered and is gone at once.

    Only its CHAN_START in the record matters. With an application there is no `failed` channel after it (pbx.c).
    """
    return {
        "Action": "Originate",
        "ActionID": mark_id,
        "ChannelId": mark_id,
        "Channel": f"Local/s@{names.DEAD_END_CONTEXT}",
        "Application": "Hangup",
        "Timeout": "1000",
        "Async": "true",
    }


def _said(answer: Headers) -> str:
    """Asterisk's words as the database takes them."""
    return "".join(filter(str.isprintable, str(answer.get("message", ""))))[:MESSAGE_LENGTH]
