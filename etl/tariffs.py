"""The tariffs of the settings as the table `tariff` that the transforms read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dialer.clock import to_us
from dialer.settings import TrunkSettings
from etl.columns import Columns

COLUMNS: Columns = {
    "trunk": "STRING", "from_us": "BIGINT", "until_us": "BIGINT", "currency": "STRING", "connect_micro": "BIGINT",
    "minute_micro": "BIGINT", "initial_s": "BIGINT", "increment_s": "BIGINT",
}  # fmt: skip
FOREVER_US = 2**53
"""Until when the newest holds: past the year 2250, and a whole number in every engine."""


def query(trunks: Iterable[TrunkSettings]) -> str:
    """A SELECT without parameters of one row a tariff, for `Engine.view`."""
    rows = list(_rows(trunks)) or [f"({', '.join(['NULL'] * len(COLUMNS))})"]
    columns = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in COLUMNS.items())
    values = ",\n  ".join(rows)
    return f"SELECT {columns}\nFROM (VALUES\n  {values}\n) AS given({', '.join(COLUMNS)})\nWHERE trunk IS NOT NULL"


def _rows(trunks: Iterable[TrunkSettings]) -> Iterator[str]:
    for trunk in trunks:
        starts = [to_us(tariff.since_at) for tariff in trunk.tariff]
        for tariff, from_us, until_us in zip(trunk.tariff, starts, [*starts[1:], FOREVER_US], strict=False):
            # The settings let only letters, digits, - and _ into names, and only capitals into currencies.
            yield (
                f"('{trunk.name}', {from_us}, {until_us}, '{tariff.currency}', {tariff.connect_micro}, "
                f"{tariff.minute_micro}, {tariff.least_s}, {tariff.increment})"
            )
