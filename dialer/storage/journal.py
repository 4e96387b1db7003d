"""The host's own record of what was dialled, one line a claim and a verdict: it survives the loss of the database.

A claim's line is on the disk before the call is ordered, so that a database restored from an old backup can be told
whom it has forgotten. One file a UTC day and node, `calls-<date>-<node>.jsonl`, for its owner's eyes alone.
"""

from __future__ import annotations

import heapq
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from dialer.calls.attempt import Attempt
from dialer.clock import utc_now
from dialer.contacts.contact import Claim, ContactChange
from dialer.errors import DialerError

PATTERN = "calls-????-??-??-*.jsonl"
FORGOTTEN = "forgotten-"
"""Begins the name of a folder of lines that an operator has put aside."""
_TAIL_LINE = 1024
"""Bytes; a line has about half as many."""


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A claim as the journal holds it: names instead of ids, which another database need not share."""

    at: datetime
    attempt_id: UUID
    tenant_id: str
    campaign: str
    revision_id: int
    person_key: str
    number: str
    attempts: int
    """Of the person, that counted before this one."""
    wave: int
    node: str
    trunk: str
    submitting_at: datetime
    epoch: int
    boot: str
    caller_id: str = ""
    """The number shown to them; empty in lines of older releases."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """An attempt's end as the journal holds it: every column that the claim did not fill, and the contact after it."""

    at: datetime
    attempt_id: UUID
    accepted_at: datetime | None
    ringing_at: datetime | None
    answered_at: datetime | None
    first_audio_at: datetime | None = None
    hung_up_at: datetime | None
    ended_at: datetime
    originate_reason: int | None
    cause: int | None
    tech_cause: int | None
    disposition: str
    counted: bool | None = None
    seq: int
    change: ContactChange


Line = Claimed | Verdict
_KINDS: dict[str, type[Claimed] | type[Verdict]] = {"claimed": Claimed, "ended": Verdict}
_NAMES = {kind: tuple(field.name for field in fields(kind)) for kind in (Claimed, Verdict, ContactChange)}
_OF_ATTEMPT = tuple(
    name for name in _NAMES[Verdict] if name not in ("at", "attempt_id", "disposition", "change")
)  # fmt: skip


class Journal:
    """Appends a node's lines. Its methods block on the disk, and threads may call them at the same time."""

    def __init__(self, directory: Path, node: str, now: Callable[[], datetime] = utc_now) -> None:
        """`directory` is made when the first line is written."""
        self._directory, self._node, self._now = directory, node, now
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._file = -1

    def claimed(self, campaign: str, claims: Sequence[Claim]) -> None:
        """Writes a line a claim; when it returns they are on the disk. Raises OSError: then nothing may be ordered."""
        at = self._now()
        self._append(at, [_of_claim(at, campaign, claim) for claim in claims], to_disk=True)

    def ended(self, changes: Sequence[tuple[Attempt, ContactChange]]) -> None:
        """Writes a line a verdict that is stored, in its order; a power cut may take the last. Raises OSError."""
        at = self._now()
        self._append(at, [_of_end(at, attempt, change) for attempt, change in changes], to_disk=False)

    def forget(self, before: datetime) -> None:
        """Removes the files, and the folders that an operator put aside, of the UTC days before that moment's."""
        last = f"{before.astimezone(UTC):%Y-%m-%d}"
        for path in files(self._directory):
            if path.name.removeprefix("calls-")[:10] < last:
                path.unlink(missing_ok=True)
        for path in self._directory.glob(f"{FORGOTTEN}*"):
            if path.name.removeprefix(FORGOTTEN)[:10] < last:
                shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Lets the file go; the next line opens it again."""
        with self._lock:
            self._close()

    def _append(self, at: datetime, lines: Sequence[Line], *, to_disk: bool) -> None:
        if not lines:
            return
        data = "".join(map(_encode, lines)).encode()
        path = self._directory / f"calls-{at.astimezone(UTC):%Y-%m-%d}-{self._node}.jsonl"
        with self._lock:
            self._write(path, data)
            file = os.dup(self._file)
        # Outside the lock: the engine's loop writes verdicts, and must not stand still while a disk takes its time.
        try:
            if to_disk:
                os.fdatasync(file)
        finally:
            os.close(file)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            self._open(path)
            while data:
                data = data[os.write(self._file, data) :]
        except OSError:
            # Half a line may stand there now: whoever opens the file again begins a new one.
            self._close()
            raise

    def _open(self, path: Path) -> None:
        # Lines in a file that somebody removed would be nowhere.
        if path == self._path and os.fstat(self._file).st_nlink:
            return
        self._close()
        _make_directory(self._directory)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._path = path
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")
        # A crash may have come between another process's making of the file and its name's way to the disk.
        _sync_directory(self._directory)

    def _close(self) -> None:
        if self._path is not None:
            os.close(self._file)
            self._path = None


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    """Makes the names in a directory outlive a power cut (fsync(2): a file's own fsync does not)."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


# -- lines --------------------------------------------------------------------------------------------------------


def _of_claim(at: datetime, campaign: str, claim: Claim) -> Claimed:
    attempt = claim.attempt
    return Claimed(
        at=at,
        attempt_id=attempt.id,
        tenant_id=attempt.tenant_id,
        campaign=campaign,
        revision_id=attempt.revision_id,
        person_key=claim.contact.person_key,
        number=attempt.number,
        attempts=claim.contact.attempts,
        wave=attempt.wave,
        node=attempt.node,
        trunk=attempt.trunk,
        submitting_at=attempt.submitting_at,
        epoch=attempt.epoch,
        boot=attempt.boot,
        caller_id=attempt.caller_id,
    )


def _of_end(at: datetime, attempt: Attempt, change: ContactChange) -> Verdict:
    assert attempt.disposition is not None
    values: dict[str, Any] = {name: getattr(attempt, name) for name in _OF_ATTEMPT}
    return Verdict(at=at, attempt_id=attempt.id, disposition=attempt.disposition.value, change=change, **values)


def _encode(line: Line) -> str:
    kind = "claimed" if isinstance(line, Claimed) else "ended"
    return json.dumps({kind: _plain(line)}, ensure_ascii=False, separators=(",", ":"), default=_as_json) + "\n"


def _plain(value: Line | ContactChange) -> dict[str, Any]:
    return {name: getattr(value, name) for name in _NAMES[type(value)]}


def _as_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return _plain(value) if isinstance(value, ContactChange) else str(value)


def _decode(text: bytes, where: Path) -> Line | None:
    """None for what a crash or a full disk left of a line. Raises DialerError for a line that we cannot understand."""
    try:
        said = json.loads(text)
    except ValueError:
        return None
    try:
        ((kind, values),) = said.items()
        read = {name: _typed(name, value) for name, value in values.items()}
        return _KINDS[kind](**read)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DialerError(
            f"a line in {where} is not of this release ({error!r}). Run the release that wrote it."
        ) from error


def _typed(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "at" or name.endswith("_at"):
        return datetime.fromisoformat(value)
    if name == "change":
        return ContactChange(**{key: _typed(key, one) for key, one in value.items()})
    if name == "avoid_trunks":
        return tuple(value)
    return UUID(value) if name == "attempt_id" else value


# -- reading ------------------------------------------------------------------------------------------------------


def files(directory: Path) -> list[Path]:
    """Every day's file of every node, oldest first. Raises DialerError when the directory cannot be read.

    As do the functions below for their files: whoever passes over a journal that is not theirs to read calls people
    again.
    """
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(directory, error) from error
    return sorted(directory / name for name in names if fnmatch(name, PATTERN))


def read(path: Path) -> Iterator[Line]:
    """A file's lines in the order in which they were written, without those that a crash cut."""
    with _opened(path) as file:
        for text in file:
            line = _decode(text, path)
            if line is not None:
                yield line


def read_all(directory: Path) -> Iterator[Line]:
    """Every line of every file; those of one node in their order, those of several by the time of writing."""
    by_node = groupby(sorted(files(directory), key=lambda path: (_node(path), path)), key=_node)
    streams = [_chain(list(paths)) for _, paths in by_node]
    return heapq.merge(*streams, key=lambda line: line.at)


def tail(path: Path, most: int) -> list[Line]:
    """The last lines of a file, at most that many, read from its end."""
    with _opened(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - most * _TAIL_LINE - 1))
        data = file.read()
    # What stands before the first line end may be the rest of a line.
    texts = data.split(b"\n") if len(data) == size else data.split(b"\n")[1:]
    return [line for text in texts[-most - 1 :] if (line := _decode(text, path)) is not None][-most:]


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DialerError:
    return DialerError(
        f"the journal at {path} cannot be read: {error.strerror}. Run this as the user who runs the engine."
    )


def _chain(paths: Iterable[Path]) -> Iterator[Line]:
    for path in paths:
        yield from read(path)


def _node(path: Path) -> str:
    return path.stem.removeprefix("calls-")[11:]


def put_aside(directory: Path, now: datetime) -> Path | None:
    """Moves everything that is written here into `forgotten-<time>/` below; None when there is nothing."""
    written = sorted(directory.glob("*.jsonl"))
    if not written:
        return None
    target = directory / f"{FORGOTTEN}{now.astimezone(UTC):%Y-%m-%dT%H%M%SZ}"
    target.mkdir(mode=0o700)
    for path in written:
        path.rename(target / path.name)
    _sync_directory(directory)
    return target
