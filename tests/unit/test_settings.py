"""What the settings allow, what a trunk makes of a number, and what is said of a mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dialer import settings as settings_module
from dialer.errors import InvalidInput, Problem
from dialer.settings import Settings, TrunkSettings

OWNED = ["+48221230000-+48221239999", "+48225550100"]
NODE = {"name": "node-1", "ami": {"secret_file": "ami"}}
TRUNK = {"name": "carrier-a", "node": "node-1", "host": "127.0.0.1"}


def document(**changes: Any) -> dict[str, Any]:
    return {
        "database": "postgresql:///dialer", "mac_key_file": "key", "caller_ids": OWNED, "nodes": [NODE],
        "trunks": [TRUNK], **changes,
    }  # fmt: skip


def trunk(**changes: Any) -> TrunkSettings:
    return TrunkSettings.model_validate({**TRUNK, **changes})


def test_limits_are_those_of_a_node_where_nothing_else_is_said():
    made = Settings.model_validate(document())
    assert (made.limits.max_concurrent, made.trunks[0].max_concurrent, made.trunks[0].calls_per_second) == (None,) * 3
    assert (made.nodes[0].max_concurrent, made.nodes[0].calls_per_second) == (2500, 50)


FORMATS = [
    # number_format   number           dialled
    ("{e164}",        "+48501100101",  "+48501100101"),
    ("{digits}",      "+48501100101",  "48501100101"),
    ("00{digits}",    "+48501100101",  "0048501100101"),
    ("0{national}",   "+48501100101",  "0501100101"),
    ("9{national}",   "+390612345678", "90612345678"),
    ("*31#{digits}",  "+12125550123",  "*31#12125550123"),
    ("{digits}#",     "+12125550123",  "12125550123#"),
    ("+{digits}",     "+12125550123",  "+12125550123"),
]  # fmt: skip


@pytest.mark.parametrize(("number_format", "number", "written"), FORMATS)
def test_a_carrier_gets_numbers_as_it_wants_them(number_format, number, written):
    formatted = trunk(number_format=number_format, caller_id_format=number_format)
    assert (formatted.dial_string(number), formatted.shown(number)) == (written, written)


@pytest.mark.parametrize(
    ("owned", "narrowed", "number", "may"),
    [
        # caller_ids   of the trunk       number          may be shown
        (OWNED,        None,              "+48221234567", True),
        (OWNED,        None,              "+48225550100", True),
        (OWNED,        None,              "+48225550101", False),
        (OWNED,        ["+48225550100"],  "+48225550100", True),
        (OWNED,        ["+48225550100"],  "+48221234567", False),
        ([],           None,              "+48221234567", False),
    ],
)  # fmt: skip
def test_only_owned_numbers_are_shown(owned, narrowed, number, may):
    changes = {"caller_ids": narrowed} if narrowed else {}
    made = Settings.model_validate(document(caller_ids=owned, trunks=[TRUNK | changes]))
    assert made.may_show(number, made.trunks[0]) == may


WRONG = [
    # what is written                                             key                          code
    ({"caller_ids": ["+48221234567", "22 123"]},                  "caller_ids.1",              "wrong-form"),
    ({"caller_ids": ["+48221239999-+48221230000"]},               "caller_ids.0",              "wrong-form"),
    ({"limits": {"max_concurrent": 0}},                           "limits.max_concurrent",     "greater-than-equal"),
    ({"limits": {"calls_per_second": 5}},                         "limits.calls_per_second",   "extra-forbidden"),
    ({"nodes": []},                                               "nodes",                     "empty"),
    ({"nodes": [NODE | {"max_concurrent": 0}]},                   "nodes.0.max_concurrent",    "greater-than-equal"),
    ({"nodes": [NODE | {"calls_per_second": float("nan")}]},      "nodes.0.calls_per_second",  "finite-number"),
    ({"nodes": [NODE, NODE]},                                     "",                          "named-twice"),
    ({"trunks": [TRUNK, TRUNK]},                                  "",                          "named-twice"),
    ({"trunks": [TRUNK | {"node": "node-2"}]},                    "",                          "unknown-node"),
    ({"trunks": [TRUNK | {"calls_per_second": 0}]},               "trunks.0.calls_per_second", "greater-than"),
    ({"trunks": [TRUNK | {"prefixes": []}]},                      "trunks.0.prefixes",         "empty"),
    ({"trunks": [TRUNK | {"prefixes": ["+48", "0048"]}]},         "trunks.0.prefixes.1",       "wrong-form"),
    ({"trunks": [TRUNK | {"prefixes": ["+"]}]},                   "trunks.0.prefixes.0",       "wrong-form"),
    ({"trunks": [TRUNK | {"caller_ids": []}]},                    "trunks.0.caller_ids",       "empty"),
    ({"trunks": [TRUNK | {"caller_ids": ["+48225550101"]}]},      "",                          "not-owned"),
    ({"trunks": [TRUNK | {"caller_id_format": "tel:{e164}"}]},    "trunks.0.caller_id_format", "wrong-form"),
    *(
        ({"trunks": [TRUNK | {"number_format": written}]},        "trunks.0.number_format",    "wrong-form")
        for written in (
            "", "48501", "{number}", "{digits}{digits}", "9{e164}", "{digits}@evil", "{digits}&x", "{e164} ",
            "000000{digits}", "{{digits}}", "{digits!r}", "0 {national}",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "key", "code"), WRONG)
def test_a_mistake_is_located_and_named(tmp_path, changes, key, code):
    found = problems(tmp_path, document(**changes))
    assert [(problem.key, problem.code) for problem in found] == [(key, code)]
    assert all(problem.fix and "Value error" not in problem.message for problem in found)


def problems(folder: Path, content: dict[str, Any]) -> tuple[Problem, ...]:
    file = folder / "dialer.yaml"
    file.write_text(json.dumps(content).replace("NaN", ".nan"), encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        settings_module.load(file)
    return caught.value.problems


def test_a_number_without_quotes_gets_them(tmp_path):
    (problem,) = problems(tmp_path, document(caller_ids=[48221234567]))
    assert (problem.key, problem.code) == ("caller_ids.0", "string-type")
    assert "double quotes" in problem.fix


PATHS = {
    "state_dir": lambda made: made.state_dir,
    "mac_key_file": lambda made: made.mac_key_file,
    "database_password_file": lambda made: made.database_password_file,
    "cel_file": lambda made: made.nodes[0].cel_file,
    "secret_file": lambda made: made.nodes[0].ami.secret_file,
}


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize("written", ["log/it", "/srv/it"])
def test_a_relative_path_starts_where_the_file_stands(tmp_path, monkeypatch, key, written):
    (tmp_path / "etc").mkdir()
    monkeypatch.chdir(tmp_path)
    node = {"name": "node-1", "cel_file": written, "ami": {"secret_file": written}}
    content = document(nodes=[node], state_dir=written, mac_key_file=written, database_password_file=written)
    (tmp_path / "etc" / "dialer.yaml").write_text(json.dumps(content), encoding="utf-8")
    assert PATHS[key](settings_module.load(Path("etc/dialer.yaml"), {})) == tmp_path / "etc" / written


def test_the_collector_has_room_for_its_largest_request():
    Settings.model_validate(document(collect={"tenants": {"acme": {"events_per_second": 5}}}))
    with pytest.raises(ValidationError, match="half of max_pending"):
        Settings.model_validate(document(collect={"max_unpacked": 2**26}))
