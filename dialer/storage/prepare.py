"""From a campaign file to a campaign that can be called: registered, its people imported, its calendar written."""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from dialer.campaign.load import LoadedCampaign
from dialer.campaign.number_base import Contacts
from dialer.contacts.ingest import Accepted, read_contacts
from dialer.contacts.merge import MergePolicy
from dialer.contacts.rows import Rejected
from dialer.contacts.sources import REPORT_SUFFIX, is_pattern
from dialer.errors import DialerError, InvalidInput, Problem
from dialer.storage import audit, campaigns, contacts
from dialer.storage.contacts import ImportCounts, Into, ShrunkBase
from dialer.storage.folder import newest_at_rest
from dialer.storage.number_file import NumberFile, opened, shown
from dialer.storage.session import plain_errors

Progress = Callable[[str], None]
_SAY_EVERY = 250_000
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![0-9 *]*$)")
"""How a formula begins; what is only a number with its sign is none."""


@dataclass(frozen=True, kw_only=True)
class ImportSummary:
    """What became of the people of a file."""

    file: Path
    unchanged: bool
    """The same file was imported before: nothing was done."""
    counts: ImportCounts = field(default_factory=ImportCounts)
    report_file: Path | None = None
    form: str = ""
    """The encoding of a CSV, or that it was a spreadsheet."""

    def __str__(self) -> str:
        if self.unchanged:
            return f"{shown(self.file)}: imported before, nothing changed"
        counts = self.counts
        parts = [f"{counts.accepted} new contacts"]
        parts += [
            f"{number} {words}"
            for number, words in (
                (counts.changed, "changed"),
                (counts.unchanged, "unchanged"),
                (counts.withdrawn, "withdrawn"),
                (counts.rejected, "rows rejected"),
                (counts.left_out, "numbers left out"),
            )
            if number
        ]
        where = f"; see {shown(self.report_file)}" if self.report_file else ""
        return f"{shown(self.file)} ({self.form}): {', '.join(parts)}{where}"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A campaign that can be called."""

    campaign_id: int
    revision_id: int
    import_summary: ImportSummary | None
    """None: no delivery has come yet."""

    @property
    def in_words(self) -> str:
        """What became of the people, in a line."""
        return str(self.import_summary) if self.import_summary is not None else "no delivery of the base has come yet"


@dataclass(frozen=True, kw_only=True)
class Base:
    """What an import needs of a campaign."""

    campaign_id: int
    tenant_id: str
    contacts: Contacts
    how: dict[str, Any]
    """The file's `contacts`, as it stands there."""


def prepare(
    engine: Engine,
    loaded: LoadedCampaign,
    now: datetime,
    progress: Progress = lambda line: None,
    rejects_dir: Path = Path("var/rejects"),
    *,
    by: str = "dialer",
    delivery: Path | None = None,
) -> Prepared:
    """Registers the file, imports its people and writes its calendar, all or nothing.

    `rejects_dir` takes the report when the file's own folder cannot be written; `delivery` is imported instead of what
    `from` names. Raises InvalidInput when no row can be called (the report is written all the same), or the file is not
    what the campaign reads.
    """
    path = delivery or source(loaded, now)
    with plain_errors(), engine.begin() as connection:
        campaign_id = campaigns.identify(connection, loaded, now)
        base = Base(
            campaign_id=campaign_id, tenant_id=loaded.campaign.tenant, contacts=loaded.campaign.contacts,
            how=loaded.document["contacts"],
        )  # fmt: skip
        summary = None
        if path is not None:
            # A folder's file is imported once; one that is named is, whenever it is not the last that was.
            again = delivery is not None or not is_pattern(base.contacts.source)
            summary = import_file(connection, base, path, rejects_dir, now, by=by, again=again, progress=progress)
        # Only now, because it stops claims: a running campaign goes on calling while people come in.
        registered = campaigns.register(connection, loaded, now, by=by)
        campaigns.refresh_calendar(connection, registered.revision_id, now)
    return Prepared(
        campaign_id=campaign_id, revision_id=registered.revision_id, import_summary=summary
    )  # fmt: skip


def source(loaded: LoadedCampaign, now: datetime) -> Path | None:
    """The file with the people now: the one that `from` names, or the newest delivery that rests; None for none yet."""
    named = loaded.campaign.contacts.source
    return newest_at_rest(loaded.base_dir, named, now) if is_pattern(named) else loaded.base_dir / named


def read_people(loaded: LoadedCampaign, now: datetime) -> Iterator[Accepted | Rejected]:
    """The campaign's people as its file gives them; nothing is stored."""
    path = source(loaded, now)
    if path is not None:
        with opened(path, loaded.document["contacts"]) as file:
            yield from read_contacts(file.table(loaded.campaign.contacts), loaded.campaign.contacts)


def require_columns(loaded: LoadedCampaign, now: datetime) -> None:
    """Raises InvalidInput when the campaign's file lacks a column that the campaign reads, or cannot be read at all."""
    path = source(loaded, now)
    if path is not None:
        with opened(path, loaded.document["contacts"]) as file:
            read_contacts(file.table(loaded.campaign.contacts), loaded.campaign.contacts)


def import_file(
    connection: Connection,
    base: Base,
    path: Path,
    rejects_dir: Path,
    now: datetime,
    *,
    by: str,
    again: bool,
    progress: Progress = lambda line: None,
) -> ImportSummary:
    """Merges a file into a campaign's contacts, in the caller's transaction. Raises InvalidInput.

    A file that was imported before changes nothing: with `again` only when it was the last one.
    """
    contacts.wait_for_other_imports(connection, base.campaign_id)
    with opened(path, base.how) as file:
        if contacts.was_imported(connection, base.campaign_id, file.sha256, last=again):
            return ImportSummary(file=path, unchanged=True)
        rows = _counted(read_contacts(file.table(base.contacts), base.contacts), progress)
        import_id = contacts.begin_import(connection, base.campaign_id, file.sha256, file.name, now)
        counts = _merge(connection, base, import_id, rows, now, path)
        found = counts.rejected + counts.left_out + counts.changed + counts.withdrawn
        report_file = _write_report(connection, path, rejects_dir) if found else None
        if not counts.accepted + counts.changed + counts.unchanged:
            raise _nobody(path, counts, report_file or path)
        contacts.end_import(connection, import_id, counts)
        _note(connection, base, file, counts, by, import_id)
        return ImportSummary(
            file=path, unchanged=False, counts=counts, report_file=report_file, form=file.form(base.contacts)
        )  # fmt: skip


def _merge(
    connection: Connection, base: Base, import_id: int, rows: Iterable[Accepted | Rejected], now: datetime, path: Path
) -> ImportCounts:
    policy = MergePolicy(
        missing=base.contacts.missing,
        withdraw_at_most=base.contacts.withdraw_at_most,
        not_called_within_s=base.contacts.not_called_within,
    )
    into = Into(campaign_id=base.campaign_id, tenant_id=base.tenant_id, import_id=import_id, policy=policy)
    try:
        return contacts.merge_rows(connection, into, rows, now)
    except ShrunkBase as error:
        problem = Problem(
            file=shown(path), line=None, key="contacts.withdraw_at_most", code="shrunk", message=str(error),
            fix="deliver the whole base; if it is right, allow more with `withdraw_at_most`, or `missing: keep`",
        )  # fmt: skip
        raise InvalidInput(f"{shown(path)} looks like a part of the base; nothing was imported", [problem]) from error


def _note(
    connection: Connection, base: Base, file: NumberFile, counts: ImportCounts, by: str, import_id: int
) -> None:  # fmt: skip
    audit.record(
        connection, who=by, what="contacts.import", tenant_id=base.tenant_id, campaign_id=base.campaign_id,
        sha256=file.sha256, detail={"file": file.name, "import": import_id, **asdict(counts)},
    )  # fmt: skip


def _counted(rows: Iterable[Accepted | Rejected], progress: Progress) -> Iterator[Accepted | Rejected]:
    for count, row in enumerate(rows, 1):
        yield row
        if count % _SAY_EVERY == 0:
            progress(f"{count:,} rows read")


def _nobody(path: Path, counts: ImportCounts, report_file: Path) -> InvalidInput:
    if not counts.rejected:
        message, fix = "there are no rows below the header", "add a row for each person"
    else:
        message, fix = f"all {counts.rejected} rows are rejected", f"see the reasons in {shown(report_file)}"
    problem = Problem(file=shown(path), line=None, key="contacts.from", code="nobody-to-call", message=message, fix=fix)
    return InvalidInput(f"{shown(path)} holds nobody who can be called; nothing was imported", [problem])


def _write_report(connection: Connection, path: Path, rejects_dir: Path) -> Path:
    """What is not plainly new or unchanged, beside the file, else in `rejects_dir`. Replaced as a whole."""
    name = f"{path.name}{REPORT_SUFFIX}"
    try:
        return _replace(path.parent / name, connection)
    except OSError:
        pass
    try:
        rejects_dir.mkdir(parents=True, exist_ok=True)
        return _replace(rejects_dir / name, connection)
    except OSError as error:
        raise DialerError(
            f"the report on {shown(path)} can be written neither to {path.parent} nor to {rejects_dir}: "
            f"{error.strerror}. Make one of them writable, or free some space."
        ) from error


def _replace(target: Path, connection: Connection) -> Path:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("line", "person", "reason", "detail", "number"))
            writer.writerows([_inert(cell) for cell in row] for row in contacts.report(connection))
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def _inert(cell: Any) -> Any:
    """A cell that a spreadsheet does not take for a formula: what stands in it came from outside, and may be one."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell
