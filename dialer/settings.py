"""The machine's settings: database, nodes, trunks, workers; from the first file found, then `DIALER_*` variables.

Secrets never stand in the file: it names files that hold them (mode 0600).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from dialer import phone
from dialer.errors import InvalidInput, Problem
from dialer.secret_file import read_secret
from dialer.settings_form import NAME as NAME
from dialer.settings_form import SOME, CallLimit, Name, NumberFormat, OwnedNumbers, Part, Port, Prefix, RateLimit, wrong
from dialer.tariffs import Tariffs
from dialer.telemetry_settings import EVENT_MEMORY as EVENT_MEMORY
from dialer.telemetry_settings import CollectSettings as CollectSettings
from dialer.telemetry_settings import EtlSettings as EtlSettings
from dialer.telemetry_settings import OpeningHours as OpeningHours
from dialer.telemetry_settings import ReportSettings as ReportSettings

SEARCH = ("dialer.yaml", "/etc/dialer/dialer.yaml")
FILE_VARIABLE = "DIALER_SETTINGS"
MAC_KEY_BYTES = 32
KEPT_ON_HOST = timedelta(days=14)
"""How long a host remembers its calls and what was said in them: no older backup can be brought up to date, and older
lines hold numbers and answers of people for no use."""


class AmiSettings(Part):
    """How the engine reaches a node's manager interface."""

    host: str = "127.0.0.1"
    port: Port = 5038
    secret_file: Path


class NodeSettings(Part):
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


class TrunkSettings(Part):
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
    prefixes: Annotated[tuple[Prefix, ...], SOME] = ()
    """The numbers it carries, by how they begin in E.164; nothing said: all."""
    number_format: NumberFormat = "{e164}"
    """How the carrier wants a number dialled."""
    caller_id_format: NumberFormat = "{e164}"
    """How the carrier wants the caller's number written."""
    caller_ids: Annotated[tuple[OwnedNumbers, ...], SOME] = ()
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


class AgiSettings(Part):
    """Where the FastAGI workers listen, and how many there are."""

    host: str = "127.0.0.1"
    port: Port = 4573
    workers: int = Field(default=2, ge=1, le=64)


class LimitSettings(Part):
    """What holds for the whole site: all campaigns, nodes and engines together."""

    max_concurrent: CallLimit | None = None


Cap = Annotated[int, Field(ge=1, le=10_000)]


class CapLimits(Part):
    """The most calls in any so long a time; None: no limit of that kind."""

    day: Cap | None = None
    week: Cap | None = None
    month: Cap | None = None
    """Thirty days."""
    ever: Cap | None = None


class CapSettings(Part):
    """How often people may be called at most, over all campaigns; a campaign may say less, never more."""

    number: CapLimits = CapLimits()
    person: CapLimits = CapLimits()
    gap_s: int = Field(default=0, ge=0, le=90 * 86400)
    """The least time from the end of one call to the next, of a number as of a person."""


class Settings(Part):
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
    nodes: Annotated[tuple[NodeSettings, ...], SOME]
    trunks: Annotated[tuple[TrunkSettings, ...], SOME]

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
                raise wrong("named-twice", f"two {kind}s are called {twice[0]!r}", f"give each {kind} its own name")
        for trunk in self.trunks:
            if trunk.node not in nodes:
                raise wrong(
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
                    raise wrong(
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
