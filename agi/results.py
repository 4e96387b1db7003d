"""The workers' side of the database: dialogues are loaded and rows written in groups, one statement a group.

A worker never writes an attempt's state: that is the engine's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import psycopg

from agi.batch import Batcher
from agi.ports import Dialogue
from agi.shipping import RowsRefused
from dialer.calls.attempt import State
from dialer.calls.results import FlowResult, Memory, Writes
from dialer.campaign import flow
from dialer.campaign.model import Campaign
from dialer.clock import DatabaseClock, monotonic
from dialer.errors import DatabaseAway
from dialer.settings import Settings
from dialer.storage import dialogues
from dialer.storage.dialogues import Context
from dialer.storage.direct import Connection, Connections
from dialer.storage.session import explain

T = TypeVar("T")

MAX_GROUP = 200
LOAD_PAUSE_S = 0.04
"""Nobody hears so short a wait; half of it costs a tenth more CPU here, and a third more in PostgreSQL."""
TIMEOUT_S = 5.0
"""A person waits in silence meanwhile."""
PROMPT_S = 1.0
"""An answer that took longer does not tell what time it is."""


class NoDialogue(Exception):
    """There is nothing to talk about: no such attempt, or it ended; the message says which."""


class DialogueOver(Exception):
    """It has its result already."""

    def __init__(self, result: FlowResult) -> None:
        super().__init__(result.value)
        self.said_all = result not in (FlowResult.HUNG_UP, FlowResult.ERROR)
        """The flow came to its end. Otherwise a worker died before it could say sorry, or had lost its connection."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What to say, and what is stored of it."""

    dialogue: Dialogue
    memory: Memory | None


@dataclass(frozen=True, kw_only=True)
class _Revision:
    campaign: Campaign
    base_dir: Path
    document: str


class ResultStore:
    """Loads dialogues and writes what comes of them."""

    def __init__(self, settings: Settings, clock: DatabaseClock | None = None) -> None:
        """`clock` is set to the database's time with each load: events are stored by its days."""
        self._connections = Connections(settings)
        self._settings, self._clock = settings, clock or DatabaseClock()
        self._campaigns: dict[int, _Revision] = {}
        self._fingerprints: dict[int, str] = {}
        self._loads: Batcher[tuple[UUID, bool], Loaded | NoDialogue | DialogueOver] = Batcher(
            self._load, most=MAX_GROUP, pause_s=LOAD_PAUSE_S, timeout_s=TIMEOUT_S
        )

    async def load(self, attempt_id: UUID, again: bool = False) -> Loaded:
        """What to say in this attempt's call; `again` when its worker is known to have died.

        Raises NoDialogue, DialogueOver, DatabaseAway, DialerError.
        """
        found = await self._loads.do((attempt_id, again))
        if isinstance(found, Exception):
            raise found
        return found

    def learn(self, revision_id: int, document: str, base_dir: Path) -> Campaign:
        """The campaign of a revision, read from its JSON text if it is not known yet."""
        known = self._campaigns.get(revision_id)
        if known is None or known.document != document:
            campaign = Campaign.model_validate(json.loads(document))
            known = self._campaigns[revision_id] = _Revision(campaign=campaign, base_dir=base_dir, document=document)
        return known.campaign

    def document(self, revision_id: int) -> str:
        """The JSON text of a revision that a dialogue was loaded of."""
        return self._campaigns[revision_id].document

    async def write(self, group: Sequence[Writes]) -> None:
        """Commits rows; those that stand already change nothing. Raises RowsRefused, DatabaseAway, DialerError."""
        await self._run(lambda connection: dialogues.write_directly(connection, group))

    async def close(self) -> None:
        """Closes the connections, when what is under way is done, a second at most."""
        await self._loads.close(1.0)
        await self._connections.close()

    # -- loading --

    async def _load(self, wanted: Sequence[tuple[UUID, bool]]) -> list[Loaded | NoDialogue | DialogueOver]:
        again = {attempt_id for attempt_id, is_again in wanted if is_again}
        ids = [attempt_id for attempt_id, _ in wanted]
        try:
            # A connection that is dead must not keep those waiting who come later.
            async with asyncio.timeout(TIMEOUT_S):
                rows, memories = await self._run(lambda connection: self._fetch(connection, ids, again))
        except TimeoutError:
            raise DatabaseAway(f"PostgreSQL did not answer within {TIMEOUT_S:g} s.") from None
        by_id = {row.id: row for row in rows}
        return [self._loaded(by_id.get(attempt_id), memories.get(attempt_id)) for attempt_id, _ in wanted]

    async def _fetch(
        self, connection: Connection, attempt_ids: Sequence[UUID], again: set[UUID]
    ) -> tuple[Sequence[Context], dict[UUID, Memory]]:
        asked_at = monotonic()
        rows = await dialogues.contexts(connection, list(set(attempt_ids)))
        if rows and monotonic() - asked_at < PROMPT_S:
            self._clock.set(rows[0].now)
        # A restored database may give a revision's id to another file.
        found = {row.revision_id: row.sha256 for row in rows}
        new = [one for one, sha256 in found.items() if self._fingerprints.get(one) != sha256]
        for revision in await dialogues.revisions(connection, new) if new else ():
            self.learn(revision.id, revision.document, Path(revision.base_dir))
            self._fingerprints[revision.id] = found[revision.id]
        begun = [row.id for row in rows if row.had_tries or row.id in again]
        return rows, await dialogues.memories(connection, begun) if begun else {}

    def _loaded(self, row: Context | None, memory: Memory | None) -> Loaded | NoDialogue | DialogueOver:
        if row is None:
            return NoDialogue("unknown_attempt")
        if row.state == State.ENDED.value:
            return NoDialogue("attempt_ended")
        if row.result is not None:
            return DialogueOver(FlowResult(row.result))
        return Loaded(dialogue=self._dialogue(row), memory=memory)

    def _dialogue(self, row: Context) -> Dialogue:
        revision = self._campaigns[row.revision_id]
        campaign = revision.campaign
        trunk = self._settings.trunk(row.trunk)
        node = next((node for node in self._settings.nodes if node.name == row.node), None)
        longest_call_s = campaign.capacity.longest_call
        return Dialogue(
            attempt_id=row.id,
            tenant_id=campaign.tenant,
            revision_id=row.revision_id,
            campaign=campaign,
            base_dir=revision.base_dir,
            language=flow.language_for(campaign, row.language),
            codec=trunk.codec if trunk else self._settings.trunks[0].codec,
            # AUTOHANGUP replaces the dialplan's own TIMEOUT(absolute), so the node's limit must not be lost here.
            longest_call_s=min(longest_call_s, node.longest_call_s) if node else longest_call_s,
            fields={key: str(value) for key, value in row.fields.items() if value is not None},
            zones=row.zones,
        )

    async def _run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            return await self._connections.run(work)
        except (psycopg.IntegrityError, psycopg.DataError) as error:
            raise RowsRefused(str(explain(error))) from error
        except psycopg.Error as error:
            raise explain(error) from error
