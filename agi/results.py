"""The workers' side of the database: dialogues are loaded and results written in groups, one statement a table.

A worker never writes an attempt's state: that is the engine's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from sqlalchemy import BigInteger, RowMapping, any_, bindparam, exists, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.types import Uuid

from agi.batch import Batcher
from agi.leftovers import Leftovers
from agi.ports import Dialogue
from dialer.calls.attempt import State
from dialer.calls.results import Writes
from dialer.campaign import flow
from dialer.campaign.model import Campaign
from dialer.settings import Settings
from dialer.storage import dialogues, tables
from dialer.storage.session import explain

T = TypeVar("T")

MAX_GROUP = 200
LOAD_PAUSE_S, SAVE_PAUSE_S = 0.02, 0.08
"""Nobody hears so short a wait. At 100 calls a second the second figure, doubled from 40 ms, saves a fifth of a
worker's CPU; doubling the first saves little and delays the first word."""
TIMEOUT_S = 5.0
"""A person waits in silence meanwhile."""
CLOSE_S = 7.0
"""For rows that wait to be stored when the worker stops; its parent allows 10 s after the dialogues (agi.supervise)."""


class NoDialogue(Exception):
    """There is nothing to talk about: no such attempt, or it ended, or it had its dialogue; the message says which."""


class ResultStore:
    """Loads dialogues and saves what comes of them (agi.ports.Store)."""

    def __init__(self, engine: AsyncEngine, settings: Settings) -> None:
        self._engine, self._settings = engine, settings
        self._campaigns: dict[int, tuple[Campaign, Path]] = {}
        self._loads: Batcher[UUID, Dialogue | NoDialogue] = Batcher(
            self._load, most=MAX_GROUP, pause_s=LOAD_PAUSE_S, timeout_s=TIMEOUT_S
        )
        self._saves: Batcher[Writes, None] = Batcher(
            self._save, most=MAX_GROUP, pause_s=SAVE_PAUSE_S, timeout_s=TIMEOUT_S
        )
        self._leftovers = Leftovers(self.save)

    async def load(self, attempt_id: UUID) -> Dialogue:
        """What to say in this attempt's call. Raises NoDialogue, DatabaseAway, DialerError."""
        found = await self._loads.do(attempt_id)
        if isinstance(found, NoDialogue):
            raise found
        return found

    async def save(self, writes: Writes) -> None:
        """Returns when the rows are committed; rows that already stand change nothing. Raises DialerError."""
        await self._saves.do(writes)

    def keep(self, writes: Writes) -> None:
        """Saves rows in the background, again and again until they are stored."""
        self._leftovers.keep(writes)

    async def close(self) -> None:
        """Waits for what is not stored yet, some seconds at most, and closes the connections."""
        await self._leftovers.close(CLOSE_S)
        await self._saves.close(1.0)
        await self._loads.close(1.0)
        await self._engine.dispose()

    # -- loading --

    async def _load(self, attempt_ids: Sequence[UUID]) -> list[Dialogue | NoDialogue]:
        rows = await self._with_connection(lambda connection: self._fetch(connection, attempt_ids))
        by_id = {row["id"]: row for row in rows}
        return [self._dialogue(by_id.get(attempt_id)) for attempt_id in attempt_ids]

    async def _fetch(self, connection: AsyncConnection, attempt_ids: Sequence[UUID]) -> Sequence[RowMapping]:
        rows = (await connection.execute(_DIALOGUES, {"ids": list(set(attempt_ids))})).mappings().all()
        new = {row["revision_id"] for row in rows} - self._campaigns.keys()
        if new:
            for revision in await connection.execute(_REVISIONS, {"ids": list(new)}):
                campaign = Campaign.model_validate(revision.document)
                self._campaigns[revision.id] = (campaign, Path(revision.base_dir))
        return rows

    def _dialogue(self, row: RowMapping | None) -> Dialogue | NoDialogue:
        if row is None:
            return NoDialogue("unknown_attempt")
        if row["state"] == State.ENDED.value:
            return NoDialogue("attempt_ended")
        if row["had_result"] or row["had_tries"]:
            return NoDialogue("had_its_dialogue")
        campaign, base_dir = self._campaigns[row["revision_id"]]
        trunk = self._settings.trunk(row["trunk"])
        node = next((node for node in self._settings.nodes if node.name == row["node"]), None)
        longest_call_s = campaign.capacity.longest_call
        return Dialogue(
            attempt_id=row["id"],
            tenant_id=campaign.tenant,
            revision_id=row["revision_id"],
            campaign=campaign,
            base_dir=base_dir,
            language=flow.language_for(campaign, row["language"]),
            codec=trunk.codec if trunk else self._settings.trunks[0].codec,
            # AUTOHANGUP replaces the dialplan's own TIMEOUT(absolute), so the node's limit must not be lost here.
            longest_call_s=min(longest_call_s, node.longest_call_s) if node else longest_call_s,
            fields={key: str(value) for key, value in row["fields"].items() if value is not None},
        )

    # -- saving --

    async def _save(self, group: Sequence[Writes]) -> list[None]:
        await self._with_connection(lambda connection: dialogues.write(connection, group))
        return [None] * len(group)

    async def _with_connection(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """One transaction; a second one when the connection had died since its last use (PostgreSQL restarted).

        Whatever the first may have stored, sending it again changes nothing.
        """
        try:
            try:
                return await self._transaction(work)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                return await self._transaction(work)
        except DBAPIError as error:
            raise explain(error) from error

    async def _transaction(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self._engine.begin() as connection:
            return await work(connection)


_A, _C = tables.attempt.c, tables.contact.c
_IDS = any_(bindparam("ids", type_=ARRAY(Uuid)))

_DIALOGUES = (
    select(
        _A.id, _A.state, _A.revision_id, _A.trunk, _A.node, _C.language, _C.fields,
        exists().where(tables.flow_result.c.attempt_id == _A.id).label("had_result"),
        exists().where(tables.answer_try.c.attempt_id == _A.id).label("had_tries"),
    )
    .join_from(tables.attempt, tables.contact, _A.contact_id == _C.id)
    .where(_A.id == _IDS)
)  # fmt: skip

_REVISIONS = select(tables.revision.c.id, tables.revision.c.document, tables.revision.c.base_dir).where(
    tables.revision.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))
)
