"""How the processes that lead calls run: uvloop, and a garbage collector that seldom looks."""

from __future__ import annotations

import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

Result = TypeVar("Result")

GARBAGE_AFTER = (20_000, 20, 20)
"""CPython looks after 700 new objects; a thousand open dialogues are looked through each time, and are no garbage. That
was a sixth of a worker's CPU. What is freed late this way is some megabytes."""


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Runs the coroutine to its end, as asyncio.run does."""
    gc.freeze()  # what has been imported stays for good
    gc.set_threshold(*GARBAGE_AFTER)
    try:
        return uvloop.run(main)
    finally:
        # Libraries clean up as the interpreter ends, and complain on stderr (nanobind) of what is kept from them.
        gc.unfreeze()
