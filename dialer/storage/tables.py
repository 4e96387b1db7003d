"""The tables. Constraints and partial unique indexes here are promises, not hints: code may be wrong, these hold.

The event table is partitioned by the day things occurred; its partitions are made by `storage.event_log`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB
from sqlalchemy.types import UserDefinedType

from dialer.calls.attempt import State
from dialer.calls.disposition import Disposition
from dialer.calls.results import FlowResult, TryOutcome
from dialer.campaign.running import Wanted
from dialer.contacts.suppress import DncScope, DncSource, WaitsFor


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id: consumers of events read behind `pg_snapshot_xmin`."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """The column's type in DDL."""
        return "xid8"


metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)
_AT = DateTime(timezone=True)


def _one_of(column: str, values: type) -> str:
    return f"{column} in ({', '.join(repr(member.value) for member in values)})"  # type: ignore[attr-defined]


campaign = Table(
    "campaign", metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("revision_id", BigInteger, nullable=True),
    Column("created_at", _AT, nullable=False),
    UniqueConstraint("name"),
)  # fmt: skip

revision = Table(
    "revision", metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("campaign_id", BigInteger, ForeignKey("campaign.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("sha256", Text, nullable=False),
    # json, not jsonb, which sorts keys: a step without `next` goes on at the next one in the file.
    Column("document", JSON, nullable=False),
    Column("base_dir", Text, nullable=False),
    Column("accepted_at", _AT, nullable=False),
    Column("accepted_by", Text, nullable=True),
    Column("note", Text, nullable=True),
    UniqueConstraint("campaign_id", "number"),
)  # fmt: skip

open_interval = Table(
    "open_interval", metadata,
    Column("revision_id", BigInteger, ForeignKey("revision.id"), nullable=False),
    Column("zones", Text, nullable=False),
    Column("opens_at", _AT, nullable=False),
    Column("closes_at", _AT, nullable=False),
    PrimaryKeyConstraint("revision_id", "zones", "opens_at"),
    CheckConstraint("opens_at < closes_at", name="order"),
)  # fmt: skip
"""When a revision may call people of a set of time zones: half-open UTC intervals from campaign.calendar."""

person = Table(
    "person", metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("person_key", Text, nullable=False),
    UniqueConstraint("tenant_id", "person_key"),
)  # fmt: skip

contact_import = Table(
    "contact_import", metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("campaign_id", BigInteger, ForeignKey("campaign.id"), nullable=False),
    Column("sha256", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("changed", Integer, nullable=False, server_default=text("0")),
    Column("unchanged", Integer, nullable=False, server_default=text("0")),
    Column("withdrawn", Integer, nullable=False, server_default=text("0")),
    Column("imported_at", _AT, nullable=False),
    UniqueConstraint("campaign_id", "sha256"),
)  # fmt: skip

contact = Table(
    "contact", metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("campaign_id", BigInteger, ForeignKey("campaign.id"), nullable=False),
    Column("person_id", BigInteger, ForeignKey("person.id"), nullable=False),
    Column("numbers", ARRAY(Text), nullable=False),
    Column("zones", Text, nullable=False),
    Column("language", Text, nullable=True),
    Column("fields", JSONB, nullable=False),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("dials", SmallInteger, nullable=False, server_default=text("0")),
    Column("wave", SmallInteger, nullable=False, server_default=text("1")),
    Column("next_number", Text, nullable=True),
    Column("next_attempt_at", _AT, nullable=True),
    Column("closed_as", Text, nullable=True),
    Column("on_hold", Boolean, nullable=False, server_default=text("false")),
    Column("avoid_trunks", ARRAY(Text), nullable=True),
    Column("priority", SmallInteger, nullable=False, server_default=text("5")),
    Column("import_id", BigInteger, ForeignKey("contact_import.id"), nullable=True),
    Column("line", Integer, nullable=True),
    Column("waits_for", Text, nullable=True),
    Column("withdrawn_at", _AT, nullable=True),
    Column("resumes_at", _AT, nullable=True),
    Column("seq", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("campaign_id", "person_id"),
    CheckConstraint("(next_attempt_at is null) = (next_number is null)", name="due"),
    CheckConstraint("closed_as is null or next_attempt_at is null", name="closed"),
    # The claim walks this index in the order of the due times, for each set of zones whose window is open.
    Index(
        "contact_due_idx", "campaign_id", "zones", "priority", "next_attempt_at", "id",
        postgresql_where=text("next_attempt_at is not null"),
    ),
    CheckConstraint(_one_of("waits_for", WaitsFor), name="waits_for"),
)  # fmt: skip
"""A person in a campaign; `dials` counts its claims, `attempts` those that count; `line` of the import names its row.

`zones` is the key of its calendar: IANA names joined by commas, and behind an @ the subdivision whose holidays count.
`waits_for` is the rule that moved `next_attempt_at` behind the moment that the retry policy gave.
`withdrawn_at`: the number base has them no more; a trigger closes them as `withdrawn` as soon as they would be due, and
keeps in `resumes_at` when that was. It also sees that `next_number` is one of `numbers`, whatever changed meanwhile.
`seq` counts its events.

Due when `next_attempt_at` is set; in a call when neither due, closed nor held."""

attempt = Table(
    "attempt", metadata,
    Column("id", Uuid, primary_key=True),
    Column("campaign_id", BigInteger, ForeignKey("campaign.id"), nullable=False),
    Column("revision_id", BigInteger, ForeignKey("revision.id"), nullable=False),
    Column("contact_id", BigInteger, ForeignKey("contact.id"), nullable=False),
    Column("person_id", BigInteger, ForeignKey("person.id"), nullable=False),
    Column("number", Text, nullable=False),
    Column("wave", SmallInteger, nullable=False),
    Column("node", Text, nullable=False),
    Column("trunk", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("submitting_at", _AT, nullable=False),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    Column("boot", Text, nullable=False, server_default=text("''")),
    Column("accepted_at", _AT, nullable=True),
    Column("ringing_at", _AT, nullable=True),
    Column("answered_at", _AT, nullable=True),
    Column("hung_up_at", _AT, nullable=True),
    Column("ended_at", _AT, nullable=True),
    Column("slot_until", _AT, nullable=True),
    Column("originate_reason", SmallInteger, nullable=True),
    Column("cause", SmallInteger, nullable=True),
    Column("tech_cause", SmallInteger, nullable=True),
    Column("disposition", Text, nullable=True),
    Column("seq", SmallInteger, nullable=False),
    Column("caller_id", Text, nullable=True),
    Column("first_audio_at", _AT, nullable=True),
    # Caps count it unless this is false: null while it is open, and for what an older release or a restore left.
    Column("counted", Boolean, nullable=True),
    CheckConstraint(_one_of("state", State), name="state"),
    CheckConstraint(_one_of("disposition", Disposition), name="disposition"),
    CheckConstraint("(state = 'ended') = (disposition is not null)", name="verdict"),
    CheckConstraint("(state = 'ended') = (ended_at is not null)", name="ended"),
    CheckConstraint("state <> 'ended' or slot_until is not null", name="slot"),
    # Promise 2: one open call a number and a person, over all campaigns.
    Index("attempt_open_number_idx", "number", unique=True, postgresql_where=text("state <> 'ended'")),
    Index("attempt_open_person_idx", "person_id", unique=True, postgresql_where=text("state <> 'ended'")),
    # Promise 5: the claim counts slots here: those without an end and those still settling.
    Index("attempt_slot_idx", "slot_until"),
    Index("attempt_campaign_idx", "campaign_id", "submitting_at"),
    Index("attempt_contact_idx", "contact_id"),
    # Promise 6: caps and the least gap count the calls of a number and of a person, over all campaigns.
    Index("attempt_number_idx", "number", "submitting_at"),
    Index("attempt_person_idx", "person_id", "submitting_at"),
)  # fmt: skip

engine_lease = Table(
    "engine_lease", metadata,
    Column("node", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),
    Column("taken_at", _AT, nullable=False),
    Column("lease_until", _AT, nullable=False),
)  # fmt: skip
"""Which process may dial through a node. Taking it raises the epoch; who writes under an older one is refused."""

campaign_run = Table(
    "campaign_run", metadata,
    Column("campaign_id", BigInteger, ForeignKey("campaign.id"), primary_key=True),
    Column("revision_id", BigInteger, ForeignKey("revision.id"), nullable=False),
    Column("wanted", Text, nullable=False),
    Column("wanted_at", _AT, nullable=False),
    Column("wanted_by", Text, nullable=False),
    Column("wanted_why", Text, nullable=True),
    Column("orders", Integer, nullable=False),
    Column("max_concurrent", Integer, nullable=False),
    Column("calls_per_second", Float, nullable=False),
    Column("priority", SmallInteger, nullable=False, server_default=text("5")),
    Column("share", SmallInteger, nullable=False, server_default=text("1")),
    Column("began_at", _AT, nullable=False, server_default=text("clock_timestamp()")),
    CheckConstraint(_one_of("wanted", Wanted), name="wanted"),
)  # fmt: skip
"""What an operator wants of a campaign and within which limits, and who said so last.

`orders` numbers the orders, which stand in the event log."""

campaign_node = Table(
    "campaign_node", metadata,
    Column("campaign_id", BigInteger, ForeignKey("campaign.id"), primary_key=True),
    Column("node", Text, primary_key=True),
    Column("weight", Integer, nullable=False, server_default=text("1")),
    Column("able", Boolean, nullable=False, server_default=text("true")),
    Column("progress", JSONB, nullable=True),
    Column("progress_at", _AT, nullable=True),
    Column("rate_share", Float, nullable=False, server_default=text("0")),
    Column("rate_high", Float, nullable=False, server_default=text("0")),
    Column("rate_high_until", _AT, nullable=True),
    Column("rate_at", _AT, nullable=True),
    Index("campaign_node_node_idx", "node"),
)  # fmt: skip
"""The nodes that a campaign's trunks are on, what each node's engine says of it, and its share of the calls a second.

`weight` is the trunks' in sum, 0 for a node that is left out now; `able` says whether its engine can call; `progress`
is for those who watch from elsewhere; the rate's columns are those of pacing.shares.NodeShare."""

capacity_limit = Table(
    "capacity_limit", metadata,
    Column("scope", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("max_concurrent", Integer, nullable=True),
    CheckConstraint("scope in ('site', 'node', 'trunk')", name="scope"),
)  # fmt: skip
"""The most calls at once of the site, of nodes and of trunks, as the engine started last has them in its settings.

Claims of all engines lock these rows in one order, and then count (promise 5)."""

node_report = Table(
    "node_report", metadata,
    Column("node", Text, primary_key=True),
    Column("report", JSONB, nullable=False),
    Column("reported_at", _AT, nullable=False),
)  # fmt: skip
"""What a node's engine says of the node and its trunks, for `dialer status`."""

answer_try = Table(
    "answer_try", metadata,
    Column("attempt_id", Uuid, ForeignKey("attempt.id"), nullable=False),
    Column("step", Text, nullable=False),
    Column("visit", SmallInteger, nullable=False),
    Column("try_no", SmallInteger, nullable=False),
    Column("keys", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("at", _AT, nullable=False),
    PrimaryKeyConstraint("attempt_id", "step", "visit", "try_no"),
    CheckConstraint(_one_of("outcome", TryOutcome), name="outcome"),
)  # fmt: skip

answer = Table(
    "answer", metadata,
    Column("attempt_id", Uuid, ForeignKey("attempt.id"), nullable=False),
    Column("step", Text, nullable=False),
    Column("visit", SmallInteger, nullable=False),
    Column("revision_id", BigInteger, ForeignKey("revision.id"), nullable=False),
    Column("keys", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("at", _AT, nullable=False),
    PrimaryKeyConstraint("attempt_id", "step", "visit"),
)  # fmt: skip

flow_result = Table(
    "flow_result", metadata,
    Column("attempt_id", Uuid, ForeignKey("attempt.id"), primary_key=True),
    Column("result", Text, nullable=False),
    Column("step", Text, nullable=True),
    Column("answers", SmallInteger, nullable=False),
    Column("detail", Text, nullable=True),
    Column("at", _AT, nullable=False),
    Column("audio_at", _AT, nullable=True),
    Column("callback_at", _AT, nullable=True),
    Column("opted_out", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint(_one_of("result", FlowResult), name="result"),
)  # fmt: skip

dnc = Table(
    "dnc", metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("number", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("tenant_id", Text, nullable=True),
    Column("campaign_id", BigInteger, ForeignKey("campaign.id"), nullable=True),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=True),
    Column("attempt_id", Uuid, nullable=True),
    Column("added_at", _AT, nullable=False, server_default=text("clock_timestamp()")),
    Column("added_by", Text, nullable=False),
    Column("until", _AT, nullable=True),
    CheckConstraint(_one_of("scope", DncScope), name="scope"),
    CheckConstraint(_one_of("source", DncSource), name="source"),
    CheckConstraint("(scope = 'site') = (tenant_id is null)", name="tenant"),
    CheckConstraint("(scope = 'campaign') = (campaign_id is not null)", name="campaign"),
    Index(
        "dnc_number_idx", "number", "scope", "tenant_id", "campaign_id", unique=True, postgresql_nulls_not_distinct=True
    ),
)  # fmt: skip
"""Numbers that are not called: by anybody here (site), for a tenant, in a campaign; `until` None: for good.

The claim asks here (promise 6). An opt-out in a call stands with its attempt, which may be missing after a restore."""

audit = Table(
    "audit", metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _AT, nullable=False, server_default=text("clock_timestamp()")),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("tenant_id", Text, nullable=True),
    Column("campaign_id", BigInteger, nullable=True),
    Column("why", Text, nullable=True),
    Column("sha256", Text, nullable=True),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'")),
    Index("audit_campaign_idx", "campaign_id", "at"),
)  # fmt: skip
"""Who changed what, when and why; a trigger refuses every change and deletion."""

cel_event = Table(
    "cel_event", metadata,
    Column("node", Text, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("byte_offset", BigInteger, nullable=False),
    Column("attempt_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", _AT, nullable=False),
    Column("digit", Text, nullable=True),
    Column("cause", SmallInteger, nullable=True),
    # Where a line stood in its file, and when it was written, because inode numbers come again: shipping it twice
    # changes nothing.
    PrimaryKeyConstraint("node", "inode", "byte_offset", "at"),
    Index("cel_event_attempt_idx", "attempt_id"),
)  # fmt: skip
"""What each node's Asterisk itself saw of our calls; an attempt may be missing here after a restore."""

cel_position = Table(
    "cel_position", metadata,
    Column("node", Text, primary_key=True),
    Column("inode", BigInteger, nullable=False),
    Column("byte_offset", BigInteger, nullable=False),
    Column("since", _AT, nullable=False, server_default=text("clock_timestamp()")),
)  # fmt: skip
"""How far each node's CEL file is stored, and since when it is followed: earlier attempts have no witness."""

event = Table(
    "event", metadata,
    Column("event_id", Uuid, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("occurred_at", _AT, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject_type", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("seq", Integer, nullable=True),
    Column("schema_v", SmallInteger, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("ingested_at", _AT, nullable=False, server_default=text("now()")),
    Column("ingest_xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("source", Text, nullable=False, server_default=text("''")),
    Column("unknown", Boolean, nullable=False, server_default=text("false")),
    # A retry carries the same moment, so that the day's partition tells it from news. Of another partition nobody asks.
    PrimaryKeyConstraint("tenant_id", "occurred_at", "event_id"),
    # Events arrive in this order: the nightly extract reads the pages of its time instead of every partition whole.
    Index(
        "event_ingested_at_idx", "ingested_at",
        postgresql_using="brin", postgresql_with={"autosummarize": "on"},
    ),
    postgresql_partition_by="RANGE (occurred_at)",
)  # fmt: skip
"""What happened: our own events (source is empty) and collected ones; docs/events.md has the types.

`unknown`: collected, of a type or version that the release which stored it did not know. Readers that are no owner see
the tenants of `tenant_reader` alone (row-level security)."""

event_dead = Table(
    "event_dead", metadata,
    Column("tenant_id", Text, nullable=False),
    Column("letter_id", Uuid, nullable=False),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("times", Integer, nullable=False, server_default=text("1")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("first_at", _AT, nullable=False),
    Column("last_at", _AT, nullable=False),
    PrimaryKeyConstraint("tenant_id", "letter_id"),
    Index("event_dead_last_at_idx", "last_at"),
)  # fmt: skip
"""Lines that are no events, as they came, and why. `times` they came, `attempts` at replaying them.

A letter's id is a digest of its source and its line: a producer that sends its batch again adds none."""

collect_token = Table(
    "collect_token", metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=True),
    Column("added_at", _AT, nullable=False, server_default=text("clock_timestamp()")),
    Column("added_by", Text, nullable=False),
    Column("revoked_at", _AT, nullable=True),
    CheckConstraint("kind in ('bearer', 'webhook')", name="kind"),
    CheckConstraint("(kind = 'bearer') = (sha256 is not null)", name="sha256"),
)  # fmt: skip
"""Who may send events, for which tenant and under which name. A bearer's secret is kept as its SHA-256; a webhook's is
made from the settings' key and the id, and kept nowhere."""

collect_usage = Table(
    "collect_usage", metadata,
    Column("tenant_id", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "day"),
)  # fmt: skip
"""What a tenant has sent on a UTC day, over all collectors: its quota is held against it."""

tenant_reader = Table(
    "tenant_reader", metadata,
    Column("role_name", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    PrimaryKeyConstraint("role_name", "tenant_id"),
)  # fmt: skip
"""Which database roles read whose events."""

etl_tenant = Table(
    "etl_tenant", metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("cluster", Text, nullable=False),
    Column("next_xid", Xid8, nullable=False),
    Column("since", _AT, nullable=False),
    Column("as_of_us", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False, server_default=text("0")),
)  # fmt: skip
"""How far a tenant's events are in the lake: all of transactions before `next_xid` of that cluster, and no later ones.

What is not there yet was ingested at `since` or later. `as_of_us`: when the last event came in that is there.
`generation` counts the runs that published: one that began before another did publishes nothing."""

etl_lake = Table(
    "etl_lake", metadata,
    Column("id", Uuid, primary_key=True),
    Column("place", Text, nullable=False),
)  # fmt: skip
"""Which lake the pointers below are into: its id lies in its folder; `place` is where it was made, for people."""

etl_run = Table(
    "etl_run", metadata,
    Column("run", Uuid, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("engine", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("began_at", _AT, nullable=False, server_default=text("clock_timestamp()")),
    Column("ended_at", _AT, nullable=True),
    Column("lane", Text, nullable=True),
    Column("next_xid", Xid8, nullable=True),
    Column("as_of_us", BigInteger, nullable=True),
    Column("late", BigInteger, nullable=True),
    Column("days", ARRAY(Date), nullable=True),
    Column("error", Text, nullable=True),
    CheckConstraint("state in ('running', 'done', 'failed', 'killed')", name="state"),
    Index("etl_run_tenant_idx", "tenant_id", "began_at"),
)  # fmt: skip
"""One night of one tenant: with which code, up to which event, which cohort days it wrote anew, or why it failed."""

etl_stage = Table(
    "etl_stage", metadata,
    Column("run", Uuid, ForeignKey("etl_run.run"), nullable=False),
    Column("place", Integer, nullable=False),
    Column("stage", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("rows_in", BigInteger, nullable=False),
    Column("made", JSONB, nullable=False),
    Column("dropped", JSONB, nullable=False),
    Column("rows_out", BigInteger, nullable=False),
    Column("took_s", Float, nullable=False),
    PrimaryKeyConstraint("run", "place"),
)  # fmt: skip
"""The ledger: rows in, made by reason, dropped by reason and out of each stage; they add up, or the run failed."""

etl_segment = Table(
    "etl_segment", metadata,
    Column("run", Uuid, ForeignKey("etl_run.run"), primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("files", ARRAY(Text), nullable=False),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Column("taken_by", Uuid, ForeignKey("etl_run.run"), nullable=True),
    Index("etl_segment_open_idx", "tenant_id", postgresql_where=text("taken_by is null")),
)  # fmt: skip
"""What each extract dumped, between which moments it occurred, and the run whose histories hold it; None: it is still
to be taken in, and marks its subjects and their days dirty."""

etl_output = Table(
    "etl_output", metadata,
    Column("tenant_id", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("run", Uuid, ForeignKey("etl_run.run"), nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("files", ARRAY(Text), nullable=False),
    PrimaryKeyConstraint("tenant_id", "dataset", "day", "run"),
)  # fmt: skip
"""Every dataset of a cohort day that is in the lake, as a run wrote it; `files` below the lake's root."""

etl_pointer = Table(
    "etl_pointer", metadata,
    Column("tenant_id", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("run", Uuid, nullable=False),
    PrimaryKeyConstraint("tenant_id", "dataset", "day"),
    ForeignKeyConstraint(
        ["tenant_id", "dataset", "day", "run"],
        ["etl_output.tenant_id", "etl_output.dataset", "etl_output.day", "etl_output.run"],
        name="etl_pointer_output_fkey",
    ),
)  # fmt: skip
"""Which of them is read."""
