"""The tariffs of the settings as the table `tariff` that the transforms read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dialer.clock import to_us
from dialer.settings import TrunkSettings
from etl.columns import Columns
from etl.engines import sql
from etl.engines.port import Value

COLUMNS: Columns = {
    "trunk": "STRING", "from_us": "BIGINT", "until_us": "BIGINT", "currency": "STRING", "connect_micro": "BIGINT",
    "minute_micro": "BIGINT", "initial_s": "BIGINT", "increment_s": "BIGINT",
}  # fmt: skip
FOREVER_US = 2**53
"""Until when the newest holds: past the year 2250, and a whole number in every engine."""


def query(trunks: Iterable[TrunkSettings]) -> str:
    """A SELECT without parameters of one row a tariff, for `Engine.view`."""
    return sql.inline(COLUMNS, list(_rows(trunks)))


def _rows(trunks: Iterable[TrunkSettings]) -> Iterator[tuple[Value, ...]]:
    for trunk in trunks:
        starts = [to_us(tariff.since_at) for tariff in trunk.tariff]
        for tariff, from_us, until_us in zip(trunk.tariff, starts, [*starts[1:], FOREVER_US], strict=False):
            yield (
                trunk.name, from_us, until_us, tariff.currency, tariff.connect_micro, tariff.minute_micro,
                tariff.least_s, tariff.increment,
            )  # fmt: skip
