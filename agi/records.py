"""Dialogues as workers hold them: led by one on this host, their rows in its spool before PostgreSQL is asked.

While PostgreSQL is away a dialogue goes on, and its rows are shipped later, by this worker or by another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from agi.ports import Dialogue
from agi.results import DialogueOver, NoDialogue, ResultStore
from agi.shipping import Shipper
from dialer.calls.results import STARTED, Memory, Writes
from dialer.clock import Clock
from dialer.errors import DatabaseAway, DialerError
from dialer.log import Sparse
from dialer.settings import Settings
from dialer.storage import dialogues
from dialer.storage.spool import Archive, Kept, Spool, SpoolFile

log = logging.getLogger(__name__)

BUSY_S, BUSY_LOOK_S = 1.0, 0.02
"""A worker that is killed lets go of its calls and of its locks one after the other."""
ORPHANS_EVERY_S = 5.0
CLOSE_S = 7.0
"""For rows that wait to be stored when the worker stops; its parent allows 10 s after the dialogues (agi.supervise)."""


class LedElsewhere(Exception):
    """Another worker of this host leads the dialogue, or ships its rows at this moment."""


class Record:
    """The rows of one dialogue on their way (agi.ports.Store)."""

    def __init__(
        self, *, file: SpoolFile | None, earlier: Writes, shipper: Shipper, over: Callable[[Record, Writes], None],
        disk_trouble: Callable[[OSError], None],
    ) -> None:  # fmt: skip
        self._file, self._shipper, self._over, self._disk_trouble = file, shipper, over, disk_trouble
        self._rows = Writes()
        self._rows.extend(earlier)
        self._waiting = 0
        self._complete = file is not None
        self._closed = False
        if earlier:
            self._waiting = 1
            shipper.send(earlier, self._stored)

    @property
    def spooled(self) -> bool:
        """All rows stand in the file too."""
        return self._complete

    def note(self, writes: Writes) -> None:
        """Sends rows that nobody waits for."""
        self._take(writes)
        self._shipper.send(writes, self._stored)

    async def save(self, writes: Writes) -> None:
        """Returns when the rows are committed, or when they are on the disk for good."""
        self._take(writes)
        if await self._shipper.ship(writes, self._stored):
            return
        if not await self._synced():
            raise DatabaseAway("neither PostgreSQL nor the spool's disk takes what was answered. Look at both.")

    def close(self) -> None:
        """The dialogue is over: when its rows are committed, its file goes."""
        self._closed = True
        self._finish()

    def let_go(self) -> None:
        """This worker ends: the file is for whoever comes."""
        _closed(self._file)

    def _take(self, writes: Writes) -> None:
        self._rows.extend(writes)
        self._waiting += 1
        if self._file is None or not self._complete:
            return
        try:
            self._file.append(writes)
        except OSError as error:
            # From now on the file tells less than PostgreSQL: nobody may resume from it.
            self._complete = False
            self._disk_trouble(error)

    async def _synced(self) -> bool:
        if self._file is None or not self._complete:
            return False
        try:
            await asyncio.to_thread(self._file.sync)
        except OSError as error:
            self._disk_trouble(error)
            return False
        return True

    def _stored(self) -> None:
        self._waiting -= 1
        self._finish()

    def _finish(self) -> None:
        if self._waiting:
            return
        if self._file is not None and (self._closed or not self._complete):
            file, self._file = self._file, None
            _remove(file, self._disk_trouble)
        if self._closed:
            self._over(self, self._rows)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A dialogue that this worker leads."""

    dialogue: Dialogue
    memory: Memory | None
    record: Record


class Records:
    """Opens dialogues, ships their rows, and those of workers that died."""

    def __init__(self, *, store: ResultStore, settings: Settings, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._spool, self._archive = Spool(settings.spool_dir), Archive(settings.journal_dir)
        self._shipper = Shipper(store.write)
        self._open: set[Record] = set()
        self._trouble = Sparse(log, clock)
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """From now on the rows of files that nobody holds are shipped, until `close`."""
        self._looking = asyncio.get_running_loop().create_task(self._bring_home_orphans())

    async def open(self, attempt_id: UUID, again: bool = False) -> Opened:
        """What to say in this attempt's call, and from where; `again` when its worker is known to have died.

        Raises NoDialogue, DialogueOver, LedElsewhere, DatabaseAway, DialerError.
        """
        file = await self._lead(attempt_id)
        try:
            kept = file.read() if file is not None else Kept()
        except OSError as error:
            self._disk_trouble(error)
            _closed(file)
            file, kept = None, Kept()
        try:
            if kept.context is not None:
                return self._resume(file, kept.context, kept.writes)
            if kept.writes:
                raise NoDialogue("spool_without_context")
            return await self._load(attempt_id, file, again)
        except BaseException:
            if kept.writes or kept.context is not None:
                _closed(file)
            elif file is not None:
                _remove(file, self._disk_trouble)
            raise

    def tidy(self) -> int:
        """Removes the archive's oldest days, and says how many files. Raises OSError."""
        return self._archive.tidy(self._clock.now().date())

    async def close(self) -> None:
        """Waits some seconds for what is not committed yet; the next worker ships what is in the spool."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._shipper.close(CLOSE_S)
        await self._store.close()
        for record in self._open:
            record.let_go()
        lost = [record for record in self._open if not record.spooled]
        if lost:
            log.critical("answers_lost", extra={"dialogues": len(lost), "why": "stopped"})

    # -- opening --

    async def _lead(self, attempt_id: UUID) -> SpoolFile | None:
        """The dialogue's file under our lock; None when the disk has no place for it."""
        deadline = self._clock.monotonic() + BUSY_S
        try:
            while (file := self._spool.open(attempt_id)) is None:
                if self._clock.monotonic() > deadline:
                    raise LedElsewhere
                await asyncio.sleep(BUSY_LOOK_S)
        except OSError as error:
            self._disk_trouble(error)
            return None
        return file

    def _resume(self, file: SpoolFile | None, context: dict[str, Any], writes: Writes) -> Opened:
        if writes.ends:
            raise DialogueOver(writes.ends[0].result)
        dialogue = self._dialogue(context)
        seq = max((event["seq"] for event in writes.events), default=context["seq"])
        started_at = datetime.fromisoformat(context["started_at"])
        began = [event["occurred_at"] for event in writes.events if event["type"] == STARTED]
        audio_at = datetime.fromisoformat(context["audio_at"]) if context.get("audio_at") else None
        audio_at = began[0] if began else audio_at
        memory = Memory(tries=tuple(writes.tries), seq=seq, started_at=started_at, audio_at=audio_at)
        return Opened(dialogue=dialogue, memory=memory, record=self._record(file, writes))

    async def _load(self, attempt_id: UUID, file: SpoolFile | None, again: bool) -> Opened:
        loaded = await self._store.load(attempt_id, again)
        dialogue, memory = loaded.dialogue, loaded.memory
        remembered = Writes(tries=list(memory.tries) if memory else [])
        started_at = memory.started_at if memory else self._clock.now()
        if file is not None:
            try:
                file.begin(self._context(dialogue, started_at, memory))
                if remembered:
                    file.append(remembered)
            except OSError as error:
                self._disk_trouble(error)
                _remove(file, self._disk_trouble)
                file = None
        return Opened(dialogue=dialogue, memory=memory, record=self._record(file, remembered))

    def _context(self, dialogue: Dialogue, started_at: datetime, memory: Memory | None) -> dict[str, Any]:
        """All that another worker needs to go on without PostgreSQL."""
        return {
            "tenant": dialogue.tenant_id,
            "attempt": str(dialogue.attempt_id),
            "revision": dialogue.revision_id,
            "campaign": self._store.document(dialogue.revision_id),
            "base_dir": str(dialogue.base_dir),
            "language": dialogue.language,
            "codec": dialogue.codec,
            "longest_call_s": dialogue.longest_call_s,
            "fields": dict(dialogue.fields),
            "zones": dialogue.zones,
            "started_at": started_at.isoformat(),
            "audio_at": memory.audio_at.isoformat() if memory and memory.audio_at else None,
            "seq": memory.seq if memory else 0,
        }

    def _dialogue(self, context: dict[str, Any]) -> Dialogue:
        revision_id, base_dir = context["revision"], Path(context["base_dir"])
        return Dialogue(
            attempt_id=UUID(context["attempt"]),
            tenant_id=context["tenant"],
            revision_id=revision_id,
            campaign=self._store.learn(revision_id, context["campaign"], base_dir),
            base_dir=base_dir,
            language=context["language"],
            codec=context["codec"],
            longest_call_s=context["longest_call_s"],
            fields=context["fields"],
            zones=context.get("zones", ""),
        )

    def _record(self, file: SpoolFile | None, earlier: Writes) -> Record:
        record = Record(
            file=file, earlier=earlier, shipper=self._shipper, over=self._over, disk_trouble=self._disk_trouble
        )
        self._open.add(record)
        return record

    def _over(self, record: Record, rows: Writes) -> None:
        self._open.discard(record)
        self._keep(rows)

    # -- what others left --

    async def _bring_home_orphans(self) -> None:
        while True:
            await self._clock.sleep(ORPHANS_EVERY_S)
            if self._shipper.away:
                continue
            try:
                for file in self._spool.orphans():
                    await self._bring_home(file)
            except OSError as error:
                self._disk_trouble(error)
            except Exception:
                log.exception("orphans_not_stored")

    async def _bring_home(self, file: SpoolFile) -> None:
        try:
            await dialogues.bring_home(file, self._store.write, self._keep)
        except DialerError as error:
            self._trouble.note("orphan_stays", str(error))
        except OSError as error:
            self._disk_trouble(error)
        except Exception:
            # One file that cannot be read keeps nobody else's back.
            log.exception("orphan_not_stored")

    def _keep(self, rows: Writes) -> None:
        try:
            self._archive.append(rows, self._clock.now().date())
        except OSError as error:
            self._disk_trouble(error)

    def _disk_trouble(self, error: OSError) -> None:
        self._trouble.note("spool_disk_fails", error.strerror or str(error))


def _closed(file: SpoolFile | None) -> None:
    """Leaves the file to whoever comes."""
    if file is not None:
        file.close()


def _remove(file: SpoolFile, trouble: Callable[[OSError], None]) -> None:
    try:
        file.remove()
    except OSError as error:
        trouble(error)
        file.close()
