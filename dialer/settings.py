"""The machine's settings: database, nodes, trunks, workers; from the first file found, then `DIALER_*` variables.

Secrets never stand in the file: it names files that hold them (mode 0600).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from dialer import phone
from dialer.errors import InvalidInput, Problem
from dialer.secret_file import read_secret
from dialer.tariffs import Tariffs

SEARCH = ("dialer.yaml", "/etc/dialer/dialer.yaml")
FILE_VARIABLE = "DIALER_SETTINGS"
MAC_KEY_BYTES = 32
KEPT_ON_HOST = timedelta(days=14)
"""How long a host remembers its calls and what was said in them: no older backup can be brought up to date, and older
lines hold numbers and answers of people for no use."""

NAME = r"^[a-z0-9][a-z0-9_-]{0,39}$"
Name = Annotated[str, Field(pattern=NAME)]
Port = Annotated[int, Field(ge=1, le=65535)]
CallLimit = Annotated[int, Field(ge=1, le=100_000)]
RateLimit = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


def _wrong(code: str, message: str, fix: str) -> PydanticCustomError:
    return PydanticCustomError(code, "{said}", {"said": message, "fix": fix})


def _form(check: Callable[[str], object], fix: str) -> AfterValidator:
    """Takes a text that `check` raises no ValueError for."""

    def validate(text: str) -> str:
        try:
            check(text)
        except ValueError as error:
            raise _wrong("wrong-form", str(error), fix) from error
        return text

    return AfterValidator(validate)


def _not_empty(items: tuple[Any, ...]) -> tuple[Any, ...]:
    # Not Field(min_length=1): of a tuple whose items are all wrong, pydantic says that it is empty as well.
    if not items:
        raise _wrong("empty", "nothing stands here", "write at least one, or leave the key out where it may be")
    return items


OwnedNumbers = Annotated[str, _form(phone.read_range, 'write "+48225550100" or "+48221230000-+48221239999", in quotes')]
Prefix = Annotated[str, _form(phone.require_prefix, 'write + and the first digits, in quotes: "+48" or "+4822"')]
NumberFormat = Annotated[
    str,
    _form(
        phone.require_format,
        'write one of {e164}, {digits}, {national}, beside it at most digits, * and #: "00{digits}" or "9{national}"',
    ),
]
_SOME = AfterValidator(_not_empty)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AmiSettings(_Part):
    """How the engine reaches a node's manager interface."""

    host: str = "127.0.0.1"
    port: Port = 5038
    secret_file: Path


class NodeSettings(_Part):
    """One Asterisk server."""

    name: Name
    ami: AmiSettings
    sip_address: str = "127.0.0.1"
    sip_port: Port = 5060
    rtp_start: Port = 10000
    rtp_end: Port = 29999
    cel_file: Path | None = None
    """The node's own record of calls (`cel.jsonl` in its log directory), where this machine can read it."""
    console: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """The command that runs one console command on the node, given to it as one more argument: `[asterisk, -rx]`."""
    longest_call_s: int = Field(default=900, ge=10, le=7200)
    """Asterisk itself ends every call after this, whatever happens to us."""
    max_concurrent: CallLimit = 2500
    """The most calls at once, of all campaigns."""
    calls_per_second: RateLimit = 50.0
    """New calls a second, of all campaigns."""


class TrunkSettings(_Part):
    """A way out of a node, by its PJSIP endpoint name."""

    name: Name
    node: Name
    host: str
    port: Port = 5060
    codec: Literal["alaw", "ulaw"] = "alaw"
    max_concurrent: CallLimit | None = None
    """The most calls at once, of all campaigns; None: the node's limits alone."""
    calls_per_second: RateLimit | None = None
    """New calls a second, of all campaigns; None: the node's limits alone."""
    prefixes: Annotated[tuple[Prefix, ...], _SOME] = ()
    """The numbers it carries, by how they begin in E.164; nothing said: all."""
    number_format: NumberFormat = "{e164}"
    """How the carrier wants a number dialled."""
    caller_id_format: NumberFormat = "{e164}"
    """How the carrier wants the caller's number written."""
    caller_ids: Annotated[tuple[OwnedNumbers, ...], _SOME] = ()
    """Those of the owned numbers that this carrier lets us show; nothing said: all."""
    tariff: Tariffs = ()
    """What its calls cost, the oldest first; nothing said: unknown."""

    def dial_string(self, number: str) -> str:
        """An E.164 number as this carrier wants it dialled."""
        return phone.written(self.number_format, number)

    def shown(self, caller_id: str) -> str:
        """A caller's E.164 number as this carrier wants it written."""
        return phone.written(self.caller_id_format, caller_id)

    @property
    def on_loopback(self) -> bool:
        """Whether calls stay on this machine. A host name may resolve anywhere, so only an address counts."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class AgiSettings(_Part):
    """Where the FastAGI workers listen, and how many there are."""

    host: str = "127.0.0.1"
    port: Port = 4573
    workers: int = Field(default=2, ge=1, le=64)


class LimitSettings(_Part):
    """What holds for the whole site: all campaigns, nodes and engines together."""

    max_concurrent: CallLimit | None = None


Cap = Annotated[int, Field(ge=1, le=10_000)]


class CapLimits(_Part):
    """The most calls in any so long a time; None: no limit of that kind."""

    day: Cap | None = None
    week: Cap | None = None
    month: Cap | None = None
    """Thirty days."""
    ever: Cap | None = None


class CapSettings(_Part):
    """How often people may be called at most, over all campaigns; a campaign may say less, never more."""

    number: CapLimits = CapLimits()
    person: CapLimits = CapLimits()
    gap_s: int = Field(default=0, ge=0, le=90 * 86400)
    """The least time from the end of one call to the next, of a number as of a person."""


class QuotaSettings(_Part):
    """What one tenant may send to the collector at most."""

    events_per_second: float = Field(default=10_000, gt=0, allow_inf_nan=False)
    """Over some seconds; a batch is taken whole, and the next one waits."""
    bytes_per_day: int = Field(default=10 * 2**30, ge=1)
    """Of a UTC day, unpacked."""


EVENT_MEMORY = 1024
"""Bytes that an event takes beside its line."""


class CollectSettings(_Part):
    """The collector: where it listens, and how much it takes. Sizes are in bytes."""

    host: str = "127.0.0.1"
    port: Port = 8480
    max_body: int = Field(default=8 * 2**20, ge=1024)
    max_unpacked: int = Field(default=32 * 2**20, ge=1024)
    max_lines: int = Field(default=10_000, ge=1, le=100_000)
    max_line: int = Field(default=256 * 2**10, ge=256, le=2**20)
    """Written out as PostgreSQL does it must fit into a line of the nightly dump."""
    max_pending: int = Field(default=128 * 2**20, ge=2**20)
    """Of all requests that are being read or stored; one tenant's may be half of it."""
    spool_size: int = Field(default=10 * 2**30, ge=2**20)
    """Of the disk, for what comes while PostgreSQL is away."""
    late_days: int = Field(default=35, ge=1, le=400)
    """How long after it occurred an event is taken."""
    quota: QuotaSettings = QuotaSettings()
    tenants: dict[Name, QuotaSettings] = {}

    @model_validator(mode="after")
    def _the_largest_request_fits(self) -> CollectSettings:
        largest = self.max_body + self.max_unpacked + self.max_lines * EVENT_MEMORY
        if self.max_pending < 2 * largest:
            # It would be told to wait for ever.
            raise _wrong(
                "too-small",
                f"half of max_pending is less than the largest request takes: {self.max_pending // 2} of {largest}",
                f"write max_pending: {2 * largest} or more, or take smaller requests",
            )
        return self

    def quota_of(self, tenant_id: str) -> QuotaSettings:
        """The tenant's own, else the general one."""
        return self.tenants.get(tenant_id, self.quota)


def _require_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (LookupError, OSError, ValueError) as error:
        raise ValueError(f"there is no time zone {name!r}") from error


class KeepSettings(_Part):
    """How long the stores of the telemetry keep what they have."""

    events_days: int = Field(default=90, ge=2)
    """The event log in PostgreSQL, at least as long as late events are taken; `dialer explain` reads it."""
    lake_months: int = Field(default=24, ge=1)
    """Histories and facts, by the day on which their subjects began."""
    replaced_days: int = Field(default=14, ge=1)
    """Files that newer ones have replaced: `dialer report diff` compares them."""


class EtlSettings(_Part):
    """The nightly run that makes events into facts."""

    at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = "02:30"
    """When an engine begins it; a change of clocks may move it by an hour. None: this host's engines never do."""
    time_zone: Annotated[str, _form(_require_zone, "write an IANA name such as Europe/Warsaw")] = "UTC"
    engine: Literal["duckdb", "spark"] = "duckdb"
    spark_master: str = "local[*]"
    memory_mb: int = Field(default=1024, ge=256)
    """Of a large tenant's transforms; small ones take a quarter of it beside. What does not fit is spilt to disk."""
    threads: int | None = Field(default=None, ge=1)
    """None: as many as there are cores."""
    late_after_s: int = Field(default=3600, ge=0)
    """An event that came in so long after it occurred is counted as late."""
    keep: KeepSettings = KeepSettings()


class OpeningHours(_Part):
    """When a group of a tenant works on its tickets, by its own clock."""

    tenant: Name
    group: str = ""
    """Empty: tickets without a group, and all groups without hours of their own."""
    time_zone: Annotated[str, _form(_require_zone, "write an IANA name such as Europe/Warsaw")]
    open: dict[str, str]
    """Days to time spans, as in the `window` of a campaign file."""
    holidays: tuple[str, ...] = ()
    """Countries, or their subdivisions, whose public holidays are closed."""
    closed: tuple[str, ...] = ()
    """More closed days, as `2026-12-24` or `2026-12-24..2027-01-01`."""


class ReportSettings(_Part):
    """What reports measure service against, in seconds."""

    answer_within_s: int = Field(default=20, ge=1)
    """Who waits in a queue is answered in time."""
    short_abandon_s: int = Field(default=5, ge=0)
    """Who gives up so soon was not lost to the queue."""
    first_response_within_s: int = Field(default=3600, ge=1)
    """From a ticket's creation to the first public message of an agent."""
    next_response_within_s: int = Field(default=3600, ge=1)
    """From a customer's message to the next of an agent."""
    resolution_within_s: int = Field(default=86_400, ge=1)
    """From a ticket's creation until it is solved for good."""
    sla_hours: Literal["calendar", "opening"] = "calendar"
    """By which hours these three run: all, or the opening hours of the ticket's group."""


class Settings(_Part):
    """Everything a machine must know to dial."""

    database: str
    """libpq-style URL without a password: `postgresql:///dialer?host=/run/postgresql`."""
    database_password_file: Path | None = None
    state_dir: Path = Path("var")
    """Prompts, journal, logs. Relative paths start where the settings file stands."""
    mac_key_file: Path
    """At least 32 random characters; signs the attempt ids that cross AMI and FastAGI."""
    agi: AgiSettings = AgiSettings()
    limits: LimitSettings = LimitSettings()
    caps: CapSettings = CapSettings()
    collect: CollectSettings = CollectSettings()
    etl: EtlSettings = EtlSettings()
    reports: ReportSettings = ReportSettings()
    opening_hours: tuple[OpeningHours, ...] = ()
    """By which tickets' durations are measured a second time; one entry a tenant and group."""
    caller_ids: tuple[OwnedNumbers, ...] = ()
    """The numbers that the operator owns: nothing else is ever shown to people."""
    nodes: Annotated[tuple[NodeSettings, ...], _SOME]
    trunks: Annotated[tuple[TrunkSettings, ...], _SOME]

    @field_validator("database")
    @classmethod
    def _no_password(cls, url: str) -> str:
        if not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("must be a postgresql:// URL; no other database is supported")
        authority = url.split("://", 1)[1].split("/", 1)[0]
        if "@" in authority and ":" in authority.rsplit("@", 1)[0]:
            raise ValueError("must not hold a password: put it in a file and name that as database_password_file")
        return url

    @model_validator(mode="after")
    def _names_fit_together(self) -> Settings:
        nodes = [node.name for node in self.nodes]
        hours = [f"{one.tenant} {one.group}".strip() for one in self.opening_hours]
        kinds = (("node", nodes), ("trunk", [trunk.name for trunk in self.trunks]), ("set of opening hours", hours))
        for kind, names in kinds:
            if twice := sorted({name for name in names if names.count(name) > 1}):
                # Whichever was meant, the other's limits would not be kept.
                raise _wrong("named-twice", f"two {kind}s are called {twice[0]!r}", f"give each {kind} its own name")
        for trunk in self.trunks:
            if trunk.node not in nodes:
                raise _wrong(
                    "unknown-node",
                    f"trunk {trunk.name!r} names node {trunk.node!r}, which the settings do not have",
                    f"name one of {', '.join(nodes)}",
                )
        return self

    @model_validator(mode="after")
    def _trunks_show_what_is_owned(self) -> Settings:
        for trunk in self.trunks:
            for text in trunk.caller_ids:
                numbers = phone.read_range(text)
                if not (self._owns(numbers.first) and self._owns(numbers.last)):
                    raise _wrong(
                        "not-owned",
                        f"trunk {trunk.name!r} would show {text}, which is not among caller_ids",
                        "add it to caller_ids, beside nodes and trunks, if it is yours; the trunk's list only narrows",
                    )
        return self

    @property
    def prompts_dir(self) -> Path:
        """Spoken prompts in the trunks' codecs; Asterisk reads them here."""
        return self.state_dir / "prompts"

    @property
    def journal_dir(self) -> Path:
        """What was ordered and what became of it, beside the database, for the day it must be restored."""
        return self.state_dir / "journal"

    @property
    def spool_dir(self) -> Path:
        """Answers of live dialogues that the database has not taken yet."""
        return self.state_dir / "spool"

    @property
    def collect_dir(self) -> Path:
        """Collected events that the database has not taken yet."""
        return self.state_dir / "collect"

    def node(self, name: str) -> NodeSettings:
        """The node of that name."""
        return next(node for node in self.nodes if node.name == name)

    def trunk(self, name: str) -> TrunkSettings | None:
        """The trunk of that name, if there is one."""
        return next((trunk for trunk in self.trunks if trunk.name == name), None)

    def may_show(self, caller_id: str, trunk: TrunkSettings) -> bool:
        """Whether an E.164 number may be shown on calls through a trunk: owned, and not narrowed away by the trunk."""
        narrowed = any(caller_id in phone.read_range(text) for text in trunk.caller_ids)
        return self._owns(caller_id) and (narrowed or not trunk.caller_ids)

    def _owns(self, number: str) -> bool:
        return any(number in phone.read_range(text) for text in self.caller_ids)

    def mac_key(self) -> bytes:
        """The key behind the attempt ids' signatures."""
        key = read_secret(self.mac_key_file).encode()
        if len(key) < MAC_KEY_BYTES:
            raise InvalidInput(
                f"the key in {self.mac_key_file} is too short to sign with: {len(key)} characters, and {MAC_KEY_BYTES} "
                f"are needed. Make one with `openssl rand -hex 32 > {self.mac_key_file}`."
            )
        return key

    def database_url(self) -> str:
        """The URL for SQLAlchemy with psycopg 3; the password stays out of it (`database_password`)."""
        return "postgresql+psycopg://" + self.database.split("://", 1)[1]

    def database_password(self) -> str | None:
        """The database password, when one is used."""
        return read_secret(self.database_password_file) if self.database_password_file else None


def find_file(option: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The settings file: `--settings`, `$DIALER_SETTINGS`, ./dialer.yaml, /etc/dialer/dialer.yaml, the first found."""
    named = option or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    if named is not None:
        if not named.is_file():
            raise InvalidInput(f"there is no settings file at {named}. Give --settings FILE, or set {FILE_VARIABLE}.")
        return named
    for place in map(Path, SEARCH):
        if place.is_file():
            return place
    raise InvalidInput(
        f"no settings found: looked for --settings, ${FILE_VARIABLE}, {' and '.join(SEARCH)}.\n"
        "To try dialer on this machine, run `dialer lab up` and use the settings file that it names."
    )


def find_file_if_any(option: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """As `find_file`; None when nobody named a file and none is found."""
    try:
        return find_file(option, environ)
    except InvalidInput:
        if option is not None or environ.get(FILE_VARIABLE):
            raise
        return None


def load(option: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this machine. Raises InvalidInput with every problem of the file."""
    path = find_file(option, environ)
    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise InvalidInput(f"cannot read the settings in {path}: {error}") from error
    if not isinstance(data, dict):
        raise InvalidInput(f"the settings in {path} must be a mapping such as `database: postgresql:///dialer`")
    _override(data, environ)
    base = path.resolve().parent
    _start_at(base, data, "state_dir", "mac_key_file", "database_password_file")
    for node in data.get("nodes") or ():
        if isinstance(node, dict):
            _start_at(base, node, "cel_file")
            _start_at(base, node.get("ami"), "secret_file")
    try:
        return Settings.model_validate({"state_dir": base / "var", **data})
    except ValidationError as error:
        problems = [_problem(path, item) for item in error.errors()]
        raise InvalidInput(f"the settings in {path} are not valid", problems) from error


def _start_at(base: Path, part: object, *keys: str) -> None:
    """Lets relative paths of a mapping start at `base`; what is no path is left for the model to refuse."""
    if not isinstance(part, dict):
        return
    for key in keys:
        if isinstance(part.get(key), str):
            part[key] = base / part[key]


def _problem(path: Path, item: ErrorDetails) -> Problem:
    context: dict[str, Any] = item.get("ctx", {})
    quotes = item["type"] == "string_type" and isinstance(item["input"], int | float)
    usual = "put it between double quotes" if quotes else "see docs/settings.md for every key"
    return Problem(
        file=str(path),
        line=None,
        key=".".join(map(str, item["loc"])),
        code=item["type"].replace("_", "-"),
        message=item["msg"],
        fix=context.get("fix", usual),
    )


def _override(data: dict[str, object], environ: Mapping[str, str]) -> None:
    """`DIALER_DATABASE`, `DIALER_STATE_DIR`, `DIALER_AGI_PORT`, … win over the file."""
    for key in ("database", "state_dir", "mac_key_file", "database_password_file"):
        value = environ.get(f"DIALER_{key.upper()}")
        if value:
            data[key] = value
    for name, keys in (("agi", ("host", "port", "workers")), ("collect", ("host", "port"))):
        for key in keys:
            value = environ.get(f"DIALER_{name.upper()}_{key.upper()}")
            if value:
                part = data.setdefault(name, {})
                if isinstance(part, dict):
                    part[key] = value
