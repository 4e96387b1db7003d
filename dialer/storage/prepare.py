"""From a campaign file to a campaign that can be called: registered, its people imported, its calendar written."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, Engine

from dialer.campaign.load import LoadedCampaign
from dialer.contacts.ingest import MAX_RECORD_CHARS, Accepted, Rejected, read_contacts
from dialer.errors import DialerError, InvalidInput, Problem
from dialer.storage import campaigns, contacts
from dialer.storage.contacts import ImportCounts
from dialer.storage.session import plain_errors

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ImportSummary:
    """What became of the people of a campaign's CSV."""

    file: Path
    unchanged: bool
    """The same file was imported before: nothing was done."""
    counts: ImportCounts
    rejects_file: Path | None

    def __str__(self) -> str:
        if self.unchanged:
            return f"{self.file}: imported before, nothing changed"
        parts = [f"{self.counts.accepted} new contacts"]
        if self.counts.duplicates:
            parts.append(f"{self.counts.duplicates} in the campaign already")
        if self.counts.rejected:
            parts.append(f"{self.counts.rejected} rows rejected")
        if self.counts.left_out:
            parts.append(f"{self.counts.left_out} numbers left out")
        where = f"; see {self.rejects_file}" if self.rejects_file else ""
        return f"{self.file}: {', '.join(parts)}{where}"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A campaign that can be called."""

    campaign_id: int
    revision_id: int
    import_summary: ImportSummary


def prepare(
    engine: Engine,
    loaded: LoadedCampaign,
    now: datetime,
    progress: Progress = lambda line: None,
    rejects_dir: Path = Path("var/rejects"),
) -> Prepared:
    """Registers the file, imports its people and writes its calendar, all or nothing.

    `rejects_dir` takes the list of rejects when the CSV's own folder cannot be written. Raises InvalidInput when no
    row of the CSV can be called (the list of rejects is written all the same), or a column is missing.
    """
    path = loaded.contacts_file()
    with plain_errors(), _opened(path) as file, engine.begin() as connection:
        campaign_id = campaigns.identify(connection, loaded, now)
        summary = _import(connection, campaign_id, loaded, file, rejects_dir, now)
        # Only now, because it stops claims: a running campaign goes on calling while people come in.
        registered = campaigns.register(connection, loaded, now)
        campaigns.refresh_calendar(connection, registered.revision_id, now)
    progress(str(summary))
    return Prepared(
        campaign_id=campaign_id, revision_id=registered.revision_id, import_summary=summary
    )  # fmt: skip


def read_people(loaded: LoadedCampaign) -> Iterator[Accepted | Rejected]:
    """The campaign's people as its CSV gives them; nothing is stored."""
    path = loaded.contacts_file()
    with _opened(path) as file:
        yield from read_contacts(_lines(file), loaded.campaign.contacts, str(path))


def require_columns(loaded: LoadedCampaign) -> None:
    """Raises InvalidInput when the campaign's CSV lacks a column that the campaign reads, or cannot be read at all."""
    path = loaded.contacts_file()
    with _opened(path) as file:
        read_contacts(_lines(file), loaded.campaign.contacts, str(path))


def _import(
    connection: Connection, campaign_id: int, loaded: LoadedCampaign, file: BinaryIO, rejects_dir: Path, now: datetime
) -> ImportSummary:
    path = loaded.contacts_file()
    sha256 = _fingerprint(loaded, file)
    contacts.wait_for_other_imports(connection, campaign_id)
    if contacts.was_imported(connection, campaign_id, sha256):
        nothing = ImportCounts(accepted=0, duplicates=0, rejected=0, left_out=0)
        return ImportSummary(file=path, unchanged=True, counts=nothing, rejects_file=None)
    rows = read_contacts(_lines(file), loaded.campaign.contacts, str(path))
    counts = contacts.import_rows(connection, campaign_id, loaded.campaign.tenant, rows, now)
    rejects_file = _write_rejects(connection, path, rejects_dir) if counts.rejected + counts.left_out else None
    if not counts.accepted + counts.duplicates:
        raise _nobody(path, counts, rejects_file)
    contacts.record_import(connection, campaign_id, sha256, str(path), counts, now)
    return ImportSummary(file=path, unchanged=False, counts=counts, rejects_file=rejects_file)


def _fingerprint(loaded: LoadedCampaign, file: BinaryIO) -> str:
    """Of the file's bytes and of how they are read: another `numbers:` makes other contacts of the same file."""
    digest = hashlib.sha256(json.dumps(loaded.document["contacts"], sort_keys=True).encode())
    while block := file.read(1 << 20):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The CSV, opened once: what replaces it meanwhile is another file."""
    try:
        file = path.open("rb")
    except OSError as error:
        problem = Problem(
            file=str(path), line=None, key="contacts.from", code="unreadable",
            message=f"the contacts cannot be read: {error.strerror}", fix="check the path, and that you may read it",
        )  # fmt: skip
        raise InvalidInput(f"{path} cannot be imported", [problem]) from error
    with file:
        yield file


def _lines(file: BinaryIO) -> Iterator[str]:
    """Lines with their ends, as `read_contacts` takes them; what is not UTF-8 becomes lone surrogates."""
    reader = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        # A line without an end must not fill the memory; its pieces are rejected one by one.
        yield from iter(lambda: reader.readline(MAX_RECORD_CHARS + 1), "")
    finally:
        # A wrapper that is thrown away closes the file, which belongs to the caller.
        if not file.closed:
            reader.detach()


def _nobody(path: Path, counts: ImportCounts, rejects_file: Path | None) -> InvalidInput:
    if not counts.rejected:
        message, fix = "there are no rows below the header", "add a row for each person"
    else:
        message, fix = f"all {counts.rejected} rows are rejected", f"see the reasons in {rejects_file}"
    problem = Problem(file=str(path), line=None, key="contacts.from", code="nobody-to-call", message=message, fix=fix)
    return InvalidInput(f"{path} holds nobody who can be called; nothing was imported", [problem])


def _write_rejects(connection: Connection, path: Path, rejects_dir: Path) -> Path:
    """The list of what is not called, beside the CSV, else in `rejects_dir`. Replaced as a whole."""
    name = f"{path.name}.rejects.csv"
    try:
        return _replace(path.parent / name, connection)
    except OSError:
        pass
    try:
        rejects_dir.mkdir(parents=True, exist_ok=True)
        return _replace(rejects_dir / name, connection)
    except OSError as error:
        raise DialerError(
            f"the list of rejected rows can be written neither to {path.parent} nor to {rejects_dir}: "
            f"{error.strerror}. Make one of them writable, or free some space."
        ) from error


def _replace(target: Path, connection: Connection) -> Path:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("line", "reason", "detail", "number"))
            writer.writerows(contacts.rejects(connection))
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target
