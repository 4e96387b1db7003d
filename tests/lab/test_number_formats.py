"""What a trunk's formats write reaches the carrier exactly so, and people see the number that was chosen."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote
from uuid import uuid4

import pytest

from dialer.calls.events import Accepted
from dialer.calls.order import Order
from dialer.lab.truth import read_truth
from dialer.lab.up import Lab
from dialer.settings import TrunkSettings
from tests.lab.caller import until
from tests.lab.test_node_link import connected

pytestmark = pytest.mark.lab

NUMBER, SHOWN = "+48501300003", "+48221234567"
FORMATS = [
    # number_format   caller_id_format   dialled            shown
    ("{e164}",        "{e164}",          "+48501300003",    "+48221234567"),
    ("00{digits}",    "{digits}",        "0048501300003",   "48221234567"),
    ("9{national}",   "0{national}",     "9501300003",      "0221234567"),
    ("*31#{digits}",  "{national}#",     "*31#48501300003", "221234567#"),
]  # fmt: skip


async def test_the_carrier_gets_numbers_as_the_formats_write_them(lab: Lab) -> None:
    known = {row.call_id for row in await asyncio.to_thread(read_truth, lab)}
    async with connected(lab) as (_, telephony):
        for number_format, caller_id_format, _, _ in FORMATS:
            trunk = TrunkSettings(
                name="carrier-a", node="node-1", host="127.0.0.1",
                number_format=number_format, caller_id_format=caller_id_format,
            )  # fmt: skip
            order = Order(
                attempt_id=uuid4(), number=NUMBER, trunk=trunk.name, caller_id=SHOWN, ring_s=5,
                dial=trunk.dial_string(NUMBER), show=trunk.shown(SHOWN),
            )  # fmt: skip
            assert isinstance(await telephony.originate(order), Accepted)

    def invited() -> list[tuple[str, str]]:
        # In a SIP URI a # is written %23 (RFC 3261, section 25.1: it is not among user-unreserved).
        rows = [row for row in read_truth(lab) if row.call_id not in known]
        return [(unquote(row.number), unquote(row.caller)) for row in rows]

    await asyncio.to_thread(until, lambda: len(invited()) == len(FORMATS), "every call is at the carrier")
    assert sorted(await asyncio.to_thread(invited)) == sorted((dialled, shown) for _, _, dialled, shown in FORMATS)
