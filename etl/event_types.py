"""The types of collected events: what each is about, its payload, its versions; docs/events.md is this in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct


class Reason(Enum):
    """Why a line is no event."""

    NOT_JSON = "not_json"
    SCHEMA = "schema"
    UNKNOWN_TENANT = "unknown_tenant"
    TOO_OLD = "too_old"
    FUTURE = "future"
    DUPLICATE_ID_CONFLICT = "duplicate_id_conflict"
    OVERSIZE = "oversize"
    UPCAST_FAILED = "upcast_failed"


class Refused(Exception):
    """A line is no event."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


# -- payloads --------------------------------------------------------------------------------------------------------

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Channel = Literal["telephone", "whatsapp", "web_chat", "email"]


class Payload(Struct, frozen=True, gc=False):
    """Keys that a type does not name are kept as they are, and read by nobody yet."""


class Nothing(Payload, frozen=True, gc=False):
    """The type says it all."""


class ByAgent(Payload, frozen=True, gc=False):
    """Who."""

    agent: Name


class TicketCreated(Payload, frozen=True, gc=False):
    """A contact of a customer, on some channel."""

    channel: Channel
    group: Name | None = None
    agent: Name | None = None
    priority: Name | None = None
    requester: Name | None = None


class TicketUpdated(Payload, frozen=True, gc=False):
    """What changed; what is not named did not."""

    status: Literal["new", "open", "pending", "hold"] | None = None
    priority: Name | None = None


class TicketQueued(Payload, frozen=True, gc=False):
    """Into the queue of a group."""

    group: Name


class TicketAssigned(Payload, frozen=True, gc=False):
    """To an agent, who may be of another group."""

    agent: Name
    group: Name | None = None


class TicketTransferred(Payload, frozen=True, gc=False):
    """To another agent, another group, or both."""

    agent: Name | None = None
    group: Name | None = None

    def __post_init__(self) -> None:
        if self.agent is None and self.group is None:
            raise ValueError("neither `agent` nor `group` says where to")


class TicketMessage(Payload, frozen=True, gc=False):
    """Somebody wrote or said something; what, stays with its source."""

    author: Literal["customer", "agent", "bot", "system"]
    visibility: Literal["public", "internal"]
    agent: Name | None = None
    channel: Channel | None = None


class TicketSolved(Payload, frozen=True, gc=False):
    """By an agent, or by itself."""

    agent: Name | None = None


class QueueEntered(Payload, frozen=True, gc=False):
    """One interaction begins to wait."""

    queue: Name
    channel: Channel
    ticket: Name | None = None


class QueueDeclined(Payload, frozen=True, gc=False):
    """An offer came to nothing; `no_answer` is the one that rang out (RONA)."""

    agent: Name
    reason: Name | None = None


class QueueTransferred(Payload, frozen=True, gc=False):
    """To another queue, another agent, or both."""

    queue: Name | None = None
    agent: Name | None = None

    def __post_init__(self) -> None:
        if self.queue is None and self.agent is None:
            raise ValueError("neither `queue` nor `agent` says where to")


class QueueEnded(Payload, frozen=True, gc=False):
    """How it ended; the words are those of Asterisk's queue log, but `completed`."""

    reason: Literal["completed", "abandoned", "full", "joinempty", "leaveempty", "timeout", "exitwithkey"]


class AgentPaused(Payload, frozen=True, gc=False):
    """Why no work is wanted now."""

    code: Name


# -- types -----------------------------------------------------------------------------------------------------------

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class EventType:
    """A type: what it is about, its payload now, its place among events of one moment, the way from older versions."""

    subject_type: str
    payload: type[Payload]
    rank: int
    upcasters: tuple[Upcaster, ...] = ()
    """The first makes version 2 of version 1, and so on; pure, and for good: old events are never rewritten."""

    @cached_property
    def version(self) -> int:
        """The newest that this release knows."""
        return len(self.upcasters) + 1

    def upcast(self, payload: dict[str, Any], version: int) -> dict[str, Any]:
        """A payload of an older version as the present one. Raises Refused."""
        for step in self.upcasters[version - 1 :]:
            try:
                payload = step(payload)
            except Exception as error:
                # Whatever it is: one event must stop neither its batch nor the nights of its tenant.
                raise Refused(Reason.UPCAST_FAILED, f"version {version}: {type(error).__name__} {error}") from error
        return payload


TYPES: Mapping[str, EventType] = {
    "ticket.created": EventType("ticket", TicketCreated, 0),
    "ticket.updated": EventType("ticket", TicketUpdated, 10),
    "ticket.queued": EventType("ticket", TicketQueued, 15),
    "ticket.assigned": EventType("ticket", TicketAssigned, 20),
    "ticket.transferred": EventType("ticket", TicketTransferred, 30),
    "ticket.work_started": EventType("ticket", ByAgent, 35),
    "ticket.message": EventType("ticket", TicketMessage, 40),
    "ticket.work_ended": EventType("ticket", ByAgent, 45),
    "ticket.hold": EventType("ticket", Nothing, 50),
    "ticket.solved": EventType("ticket", TicketSolved, 60),
    "ticket.closed": EventType("ticket", Nothing, 70),
    "ticket.reopened": EventType("ticket", Nothing, 80),
    "queue.entered": EventType("queue_entry", QueueEntered, 0),
    "queue.offered": EventType("queue_entry", ByAgent, 10),
    "queue.declined": EventType("queue_entry", QueueDeclined, 20),
    "queue.answered": EventType("queue_entry", ByAgent, 30),
    "queue.held": EventType("queue_entry", Nothing, 40),
    "queue.resumed": EventType("queue_entry", Nothing, 50),
    "queue.transferred": EventType("queue_entry", QueueTransferred, 60),
    "queue.ended": EventType("queue_entry", QueueEnded, 70),
    "queue.wrapped": EventType("queue_entry", ByAgent, 80),
    "agent.logged_in": EventType("agent_session", ByAgent, 0),
    "agent.available": EventType("agent_session", Nothing, 10),
    "agent.busy": EventType("agent_session", Nothing, 20),
    "agent.paused": EventType("agent_session", AgentPaused, 30),
    "agent.logged_out": EventType("agent_session", Nothing, 90),
}
