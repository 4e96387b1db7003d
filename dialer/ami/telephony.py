"""The engine's telephony port over AMI: orders in, call events out, and what is alive on the node."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID, uuid4

from dialer import names, tokens
from dialer.ami import originate, translate
from dialer.ami.link import AmiLink, LinkLost, LinkState
from dialer.calls.events import Accepted, CallEvent, Created, Refused, Returned, Unclear
from dialer.calls.order import Order

log = logging.getLogger(__name__)


class AmiTelephony:
    """One node's calls."""

    def __init__(self, link: AmiLink, mac_key: bytes, now: Callable[[], datetime]) -> None:
        self._link = link
        self._mac_key = mac_key
        self._now = now

    @property
    def is_up(self) -> bool:
        """Whether calls may be ordered now."""
        return self._link.state is LinkState.UP

    @property
    def boot(self) -> str:
        """Which start of the Asterisk process we are logged in to; empty while we are not."""
        return self._link.boot

    @property
    def refusal(self) -> str:
        """Why the node will never let us in as things are; empty while it may."""
        return self._link.refusal

    async def keep_up(self, on_up: Callable[[], Awaitable[None]], on_down: Callable[[], None]) -> None:
        """Keeps the session with the node up until cancelled or refused for good."""
        await self._link.keep_up(on_up, on_down)

    async def originate(self, order: Order) -> Accepted | Refused | Returned | Unclear:
        """Places one call, once."""
        return await originate.originate(self._link, order, tokens.sign(order.attempt_id, self._mac_key), self._now)

    async def hang_up(self, attempt_id: UUID) -> bool:
        """Ends a call of ours, if there is one; whether Asterisk does so. The end itself shows in the events."""
        try:
            # Asterisk takes a unique id where it asks for a channel's name (channel.c, ast_channel_get_by_name).
            answer = await self._link.send({"Action": "Hangup", "Channel": names.channel_id(attempt_id)})
        except LinkLost as error:
            log.warning(
                "a call could not be hung up: %s", error,
                extra={"event": "ami.hang_up_failed", "attempt_id": str(attempt_id)},
            )  # fmt: skip
            return False
        return answer.get("response") == "Success"

    async def leave_mark(self) -> UUID | None:
        """Makes the node write a mark into its record of calls; None when it cannot be told to.

        Everything that Asterisk did before the mark stands before it in the record. An order that lies unread in the
        socket of an older session is not done yet: wait for that first.
        """
        mark = uuid4()
        try:
            answer = await self._link.send(originate.mark(names.mark_id(mark)))
        except LinkLost:
            return None
        return mark if answer.get("response") == "Success" else None

    async def next_events(self) -> list[tuple[UUID, CallEvent]]:
        """Waits for messages, then everything that has come, in Asterisk's order; may be empty."""
        waiting = [await self._link.events.get()]
        while not self._link.events.empty():
            waiting.append(self._link.events.get_nowait())
        translated = (translate.translate(at, headers) for at, headers in waiting)
        return [event for event in translated if event is not None]

    async def live_calls(self) -> dict[UUID, list[CallEvent]] | None:
        """Our channels on the node, each with what its state says; None when the node cannot be asked."""
        try:
            messages = await self._link.send_list({"Action": "CoreShowChannels"})
        except LinkLost:
            return None
        shown = sum(message.get("event") == "CoreShowChannel" for message in messages)
        # A list that was cut short would end calls that live.
        if messages[-1].get("event") != "CoreShowChannelsComplete" or messages[-1].get("listitems") != str(shown):
            return None
        live: dict[UUID, list[CallEvent]] = {}
        for message in messages:
            attempt_id = names.attempt_of(str(message.get("uniqueid", "")))
            if attempt_id is not None:
                state = translate.live_state(self._now(), str(message.get("channelstate")))
                live[attempt_id] = [Created(at=self._now()), *([state] if state else [])]
        return live
