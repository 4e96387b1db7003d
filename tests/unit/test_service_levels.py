"""Service levels, answer times and abandoned waits of queues, by cases computed by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from etl.engines import duckdb
from tests.support.report_figures import one_day, report
from tests.support.stories import computed, placed, told, write_history

# ICMI's example: 1000 answered, 860 of them within 20 s; 60 gave up, 20 of them within 20 s, 10 of these within 5 s.
WAITS = {
    "completed": [(859, 10.0), (1, 20.0), (1, 20.000001), (139, 40.0)],
    "abandoned": [(9, 3.0), (1, 5.0), (9, 10.0), (1, 20.0), (40, 60.0)],
}
WANTED = {
    "offered": 1060, "answered": 1000, "abandoned": 60, "short_abandoned": 10,
    "service_level_f1_pct": "83.02", "service_level_f2_pct": "86.00", "service_level_f3_pct": "81.13",
    "service_level_f4_pct": "82.69", "service_level_f5_pct": "82.08",
    # (859 × 10 + 20 + 20.000001 + 139 × 40) ÷ 1000, and (27 + 5 + 90 + 20 + 2400) ÷ 60
    "asa_s": "14.190", "time_to_abandon_s": "42.367",
    # (60 − 10) ÷ (1060 − 10)
    "abandon_pct": "4.76",
    # 60 s of talk each
    "aht_s": "60.000",
}  # fmt: skip


def entries():
    waits = [(how, wait) for how, groups in WAITS.items() for times, wait in groups for _ in range(times)]
    for number, (how, wait) in enumerate(waits):
        # Two a second, all within a quarter of an hour.
        entered = number / 2
        story = [f"{_clock(entered)} entered queue=sales channel=telephone"]
        if how == "completed":
            story += [
                f"{_clock(entered + wait)} answered agent=ann",
                f"{_clock(entered + wait + 60)} ended reason={how}",
            ]
        else:
            story += [f"{_clock(entered + wait)} ended reason={how}"]
        yield from told("queue_entry", f"q-{number}", "\n".join(story))


def _clock(second: float) -> str:
    return f"10:{int(second // 60):02}:{second % 60:09.6f}"


@pytest.fixture
def duck(tmp_path):
    engine = duckdb.open(400, 1, tmp_path / "spill")
    yield engine
    engine.close()


def test_five_service_levels(duck, tmp_path):
    write_history("queue_entry", placed(entries()), tmp_path / "history.parquet")
    computed(duck, "queue_entry", [tmp_path / "history.parquet"], tmp_path / "facts")
    files = {"queue_fact": sorted((tmp_path / "facts" / "queue_fact").glob("*.parquet"))}
    (row,) = report(duck, "queue_intervals_15m", one_day(), files)
    assert (row["queue"], row["channel"]) == ("sales", "telephone")
    assert row["period_start_local"].startswith("2026-11-21T10:00")
    wanted = {name: Decimal(value) if isinstance(value, str) else value for name, value in WANTED.items()}
    assert {name: row[name] for name in wanted} == wanted


def test_without_anybody_a_ratio_is_empty(duck, tmp_path):
    story = "10:00 entered queue=sales channel=telephone\n10:00:02 ended reason=abandoned"
    write_history("queue_entry", placed(told("queue_entry", "q-1", story)), tmp_path / "history.parquet")
    computed(duck, "queue_entry", [tmp_path / "history.parquet"], tmp_path / "facts")
    files = {"queue_fact": sorted((tmp_path / "facts" / "queue_fact").glob("*.parquet"))}
    (row,) = report(duck, "queue_intervals_15m", one_day(), files)
    assert (row["asa_s"], row["service_level_f2_pct"], row["abandon_pct"]) == (None, None, None)
    assert row["service_level_f1_pct"] == Decimal("100.00")
