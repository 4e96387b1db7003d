"""The import rule of docs/architecture.md: a file imports its own storey or lower, and siblings never meet."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SIBLINGS = ("agi", "dialplan", "etl", "sounds")
STOREYS = {
    0: (
        "errors",
        "clock",
        "phone",
        "settings",
        "settings_form",
        "telemetry_settings",
        "tariffs",
        "secret_file",
        "names",
        "tokens",
        "node_files",
        "log",
        "crash_points",
        "event_loop",
    ),
    1: ("campaign", "contacts", "calls", "pacing", "waves"),
    2: ("storage", "ami"),
    3: ("engine",),
    4: (
        "lab",
        "monitoring",
        "run",
        "run_command",
        "delivery_watch",
        "control_command",
        "dnc_command",
        "engine_process",
        "fleet",
        "engine_command",
        "verify_command",
        "restore_command",
        "status_command",
        "capacity_command",
        "explain_command",
        "calendar_command",
        "plan_command",
        "commands",
    ),
}
STOREY_OF = {name: storey for storey, found in STOREYS.items() for name in found}
MAY_IMPORT = {
    "agi": {*STOREYS[0], *STOREYS[1], "storage"},
    "etl": {*STOREYS[0], *STOREYS[1], "storage"},
    "dialplan": {*STOREYS[0], *STOREYS[1]},
    "sounds": {*STOREYS[0], *STOREYS[1]},
}
PURE_MAY_NOT = {"asyncio", "sqlalchemy", "panoramisk", "socket", "subprocess", "threading"}
ONLY_READER_OF_TIME = "dialer/clock.py"


def sources() -> list[Path]:
    return [
        path
        for folder in ("dialer", *SIBLINGS)
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "migrations" not in path.parts
    ]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def offences(name: str, imported: set[str]) -> list[str]:
    """What a file (path below the root) imports against the rule."""
    parts = Path(name).parts
    home = parts[0]
    bad = []
    for module in sorted(imported):
        top, _, rest = module.partition(".")
        inner = rest.split(".")[0]
        if top in SIBLINGS and top != home and not (home == "agi" and module.startswith("sounds.catalogue")):
            if not (home == "agi" and module == "sounds"):
                bad.append(f"{name} imports {module}, a sibling")
        elif top == "dialer" and inner:
            bad += _inside_dialer(name, parts, home, inner)
        elif home == "dialer" and _storey(parts) == 1 and top in PURE_MAY_NOT:
            bad.append(f"{name} is a rule and imports {module}")
    return bad


def _storey(parts: tuple[str, ...]) -> int | None:
    return STOREY_OF.get(Path(parts[1]).stem) if len(parts) > 1 else None


def _inside_dialer(name: str, parts: tuple[str, ...], home: str, inner: str) -> list[str]:
    target = STOREY_OF.get(inner)
    if target is None:
        return [] if inner.startswith("__") else [f"{name} imports dialer.{inner}, which has no storey here"]
    if home != "dialer":
        return [] if inner in MAY_IMPORT[home] else [f"{name} imports dialer.{inner}"]
    own = _storey(parts)
    if own is None:
        return []
    own_name = Path(parts[1]).stem
    if target > own or (own == target == 2 and own_name != inner):
        return [f"{name} imports dialer.{inner}, which is not below it"]
    return [f"{name} imports dialer.{inner}: the engine meets wires through ports"] if own == 3 and target == 2 else []


def test_every_file_imports_downward():
    found = [o for path in sources() for o in offences(str(path.relative_to(ROOT)), imports(path))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "imported"),
    [
        ("dialer/phone.py", "dialer.storage.tables"),
        ("dialer/storage/claims.py", "dialer.engine.tracker"),
        ("dialer/ami/link.py", "dialer.storage.tables"),
        ("dialer/engine/tracker.py", "dialer.storage.attempts"),
        ("dialer/calls/states.py", "asyncio"),
        ("agi/server.py", "dialer.engine.tracker"),
        ("agi/server.py", "sounds.tts"),
        ("dialplan/render.py", "dialer.storage.tables"),
        ("dialer/engine/tracker.py", "agi.server"),
    ],
)
def test_the_rule_finds_an_offence(name, imported):
    assert offences(name, {imported})


def test_every_module_has_a_storey():
    modules = {path.stem if path.suffix else path.name for path in (ROOT / "dialer").iterdir()}
    assert modules - {"__init__", "__pycache__"} <= set(STOREY_OF)


def test_only_the_clock_reads_the_time():
    readers = ("datetime.now(", "time.time(", "time.monotonic(", "datetime.utcnow(", "date.today(")
    found = [
        f"{path.relative_to(ROOT)}: {reader}"
        for path in sources()
        for reader in readers
        if reader in path.read_text(encoding="utf-8") and str(path.relative_to(ROOT)) != ONLY_READER_OF_TIME
    ]
    assert not found


def test_every_module_says_what_it_is_for():
    silent = [
        str(path.relative_to(ROOT))
        for path in sources()
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent
