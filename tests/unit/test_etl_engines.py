"""What a transform may rely on: its parameters, its shape, and a digest that says when content is equal."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from dialer.errors import DialerError
from dialer.settings import EtlSettings
from etl import lanes, portions
from etl.columns import FILLED_BY, HISTORY, KNOWN, SEGMENT
from etl.engines import duckdb, sql
from etl.event_types import TYPES
from etl.lake import Lake
from etl.sql.order import ORDER

COLUMNS = {"name": "STRING", "n": "BIGINT", "is_odd": "BOOLEAN"}
TWO = "SELECT * FROM (VALUES ('a', 1, TRUE), ('b', 2, NULL)) AS t(name, n, is_odd)"


@pytest.fixture
def engine(tmp_path):
    made = duckdb.open(256, 1, tmp_path / "spill")
    yield made
    made.close()
    assert not (tmp_path / "spill").exists()


def test_parameters_are_not_those_of_literals_and_comments():
    query = "SELECT ':no', 'it''s :no' -- :no\nWHERE a >= :from_us AND b = :to AND c < :from_us"
    assert sql.parameters_in(query) == {"from_us", "to"}
    assert sql.with_parameters("a = :x AND b = ':x'", lambda name: f"${name}") == "a = $x AND b = ':x'"
    with pytest.raises(DialerError, match=":to"):
        sql.given(query, {"from_us": 1})


def test_what_is_written_is_read_back_by_name(engine, tmp_path):
    written = engine.write(TWO, {}, COLUMNS, tmp_path / "out", order_by=["n"])
    assert written.rows == 2
    engine.register("again", written.files, {"n": "BIGINT", "name": "STRING", "added_later": "BIGINT"})
    assert list(engine.rows("SELECT * FROM again ORDER BY n", {})) == [(1, "a", None), (2, "b", None)]
    assert list(engine.rows("SELECT name FROM again WHERE n = :n", {"n": 2, "unused": 1})) == [("b",)]
    engine.register("nothing", [], COLUMNS)
    assert list(engine.rows("SELECT * FROM nothing", {})) == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT 'a' AS name, 1.5 AS n, TRUE AS is_odd", "DECIMAL"),
        ("SELECT 'a' AS name, 1 / 2 AS n, TRUE AS is_odd", "DOUBLE"),
        ("SELECT 'a' AS name, '1' AS n, TRUE AS is_odd", "STRING"),
        ("SELECT 'a' AS name, 1 AS n", "no column is_odd"),
        ("SELECT nothing FROM nowhere", "nowhere"),
    ],
)
def test_a_wrong_shape_is_refused(engine, tmp_path, query, said):
    with pytest.raises(DialerError, match=said):
        engine.write(query, {}, COLUMNS, tmp_path / "out")


def test_a_digest_is_that_of_the_content(engine, tmp_path):
    def digest(query, name, **more):
        return engine.write(query, {}, COLUMNS, tmp_path / name, **more).digest

    rows = ["('a', 1, TRUE)", "('b', 2, NULL)", "('b', 2, NULL)", "('', NULL, NULL)", "(NULL, NULL, NULL)"]

    def table(*some):
        return f"SELECT * FROM (VALUES {', '.join(some)}) AS t(name, n, is_odd)"

    whole = digest(table(*rows), "whole")
    assert whole == digest(table(*reversed(rows)), "other_order", order_by=["n", "name"])
    others = [rows[1:], [*rows, rows[1]], [*rows[:3], rows[4], rows[4]], ["('a', 2, TRUE)", *rows[1:]]]
    assert len({whole, *(digest(table(*some), f"other{n}") for n, some in enumerate(others))}) == 5


def test_a_small_table_is_told_to_every_engine(engine):
    rows = [("it's", 1, True), (None, None, None), ("ł", -5, False)]
    assert list(engine.rows(sql.inline(COLUMNS, rows), {})) == rows
    assert list(engine.rows(sql.inline(COLUMNS, []), {})) == []
    with pytest.raises(DialerError, match="backslash"):
        sql.inline(COLUMNS, [("a\\b", 1, True)])


def test_every_collected_type_is_known_and_fills_columns_that_there_are():
    assert set(TYPES) <= set(KNOWN)
    for kind, columns in HISTORY.items():
        assert {name for name in columns if name != "place"} <= FILLED_BY[kind] <= set(SEGMENT)


def test_every_dataset_has_its_transform_and_its_key():
    names = [dataset.name for dataset in ORDER]
    assert len(names) == len(set(names))
    for dataset in ORDER:
        assert dataset.query.strip()
        assert set(dataset.key) <= set(dataset.columns), dataset.name


@pytest.mark.parametrize("tenant", ["..", "a/../../b", "/etc", "a b", "."])
def test_no_tenant_leads_out_of_the_lake(tenant):
    folder = Lake(Path("/lake")).of_tenant(tenant)
    assert folder.parent == Path("/lake")
    assert not {"..", "."} & set(folder.name.split("=", 1)[1:])


def test_a_portion_needs_only_the_files_that_may_hold_it(engine):
    divided = [Path(portions.file_name(0, portion, 8)) for portion in range(8)]
    whole, other = Path(portions.file_name(1, 0, 1)), Path("part-0.parquet")
    for of in portions.COUNTS:
        found = [portions.holding([*divided, whole, other], portion, of) for portion in range(of)]
        assert all({whole, other} <= set(files) for files in found)
        assert {file for files in found for file in files} == {*divided, whole, other}
    assert portions.holding(divided, 3, 8) == [divided[3]]
    assert portions.holding(divided, 1, 4) == [divided[1], divided[5]]
    engine.view("names", "SELECT * FROM (VALUES ('a'), ('b'), ('c'), ('d'), ('e')) AS t(subject)")
    for of in portions.COUNTS:
        counted = [
            next(iter(engine.rows(f"SELECT count(*) FROM names WHERE {portions.condition(portion, of)}", {})))[0]
            for portion in range(of)
        ]
        assert sum(counted) == 5


@pytest.mark.parametrize(
    ("engine", "rows", "lane"),
    [
        ("duckdb", lanes.QUICK_ROWS, "quick"),
        ("duckdb", lanes.QUICK_ROWS + 1, "patient"),
        # One session for all of a process: two lanes would read each other's tables.
        ("spark", 1, "patient"),
    ],
)
def test_a_lane_follows_from_size_and_engine(engine, rows, lane):
    assert lanes._lane(SimpleNamespace(etl=EtlSettings(engine=engine)), rows) == lane
