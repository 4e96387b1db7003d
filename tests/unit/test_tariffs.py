"""Tariffs in the settings: what is taken, what is refused and why, and what the transforms get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dialer.errors import InvalidInput
from dialer.settings import Settings, TrunkSettings, load
from etl import tariffs
from etl.engines import duckdb
from etl.engines.duckdb import DuckDb

FIRST = {"from": "2026-01-01", "currency": "EUR", "per_minute": 0.0115}


def trunk(*tariff: dict[str, Any], name: str = "carrier-a") -> TrunkSettings:
    return TrunkSettings.model_validate({"name": name, "node": "node-1", "host": "127.0.0.1", "tariff": tariff})


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DuckDb]:
    opened = duckdb.open(256, 1, tmp_path / "spill")
    yield opened
    opened.close()


def rows(engine: DuckDb, *trunks: TrunkSettings) -> list[tuple[Any, ...]]:
    engine.view("tariff", tariffs.query(trunks))
    return list(engine.rows("SELECT * FROM tariff ORDER BY trunk, from_us", {}))


def test_each_holds_until_the_next_and_prices_are_millionths(engine: DuckDb) -> None:
    later = {"from": "2026-07-01T00:00:00+02:00", "currency": "PLN", "per_minute": "0.05", "connect": "0.000001",
             "initial": 60, "increment": 6}  # fmt: skip
    change_us = 1_782_856_800_000_000
    assert rows(engine, trunk(later, FIRST), trunk(name="carrier-b")) == [
        ("carrier-a", 1_767_225_600_000_000, change_us, "EUR", 0, 11_500, 1, 1),
        ("carrier-a", change_us, tariffs.FOREVER_US, "PLN", 1, 50_000, 60, 6),
    ]


def test_no_tariff_at_all_is_an_empty_table(engine: DuckDb) -> None:
    assert rows(engine, trunk()) == []


def test_the_least_is_a_whole_step(engine: DuckDb) -> None:
    assert rows(engine, trunk(FIRST | {"increment": 60}))[0][6:] == (60, 60)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"increment": 7, "initial": 60}, "can be charged in two ways"),
        ({"per_minute": -1}, "greater than or equal to 0"),
        ({"per_minute": "0.0000001"}, "no more than 6 decimal places"),
        ({"per_minute": "nan"}, "finite"),
        ({"currency": "euro"}, "should match pattern"),
        ({"initial": 0}, "greater than or equal to 1"),
        ({"from": "yesterday"}, "valid date"),
        ({"price": 1}, "Extra inputs"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        trunk(FIRST | change)


def test_two_prices_from_one_moment_on_are_refused() -> None:
    with pytest.raises(ValidationError, match="two tariffs hold from 2026-01-01"):
        trunk(FIRST, FIRST | {"from": "2026-01-01T00:00:00Z"})


FILE = """
database: postgresql:///dialer
mac_key_file: key
nodes: [{name: node-1, ami: {secret_file: ami}}]
trunks:
  - name: carrier-a
    node: node-1
    host: 127.0.0.1
    tariff:
      - {from: 2026-07-01, currency: EUR, per_minute: 0.0102, connect: 0.002}
      - {from: "2026-01-01T00:00:00+01:00", currency: EUR, per_minute: 0.0115, initial: 60, increment: 60}
"""


def test_they_are_read_from_the_settings_file_and_written_back(tmp_path: Path) -> None:
    path = tmp_path / "dialer.yaml"
    path.write_text(FILE, encoding="utf-8")
    settings = load(path)
    tariff = settings.trunks[0].tariff
    assert [one.since_at.isoformat() for one in tariff] == ["2026-01-01T00:00:00+01:00", "2026-07-01T00:00:00+00:00"]
    assert [(one.minute_micro, one.connect_micro) for one in tariff] == [(11_500, 0), (10_200, 2_000)]
    dumped = settings.model_dump(mode="json", exclude_defaults=True)
    assert Settings.model_validate(dumped).trunks == settings.trunks


def test_the_file_is_told_what_is_wrong_and_where(tmp_path: Path) -> None:
    path = tmp_path / "dialer.yaml"
    path.write_text(FILE.replace("initial: 60, increment: 60", "initial: 60, increment: 7"), encoding="utf-8")
    with pytest.raises(InvalidInput) as wrong:
        load(path)
    (problem,) = wrong.value.problems
    assert (problem.key, problem.code) == ("trunks.0.tariff.1", "ambiguous")
    assert "multiple" in problem.fix
