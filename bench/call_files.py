"""The same work by Asterisk call files, paced in the simplest way that keeps a ceiling: so many files in the spool.

Started as `python -m bench.call_files SETTINGS NUMBERS PROMPT CEILING RATE SECONDS`. Asterisk removes a call file when
its call has ended (pbx_spool.c), so the files that are left are the calls that live. Dropped all at once, hundreds of
calls are lost. The bare loop's FastAGI answers.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

from bench.bare import CALLER_ID, Answers, due
from dialer import names, settings
from dialer.clock import monotonic
from dialer.settings import Settings

LOOK_EVERY_S = 0.05
"""How often the spool is counted; several times the lag would be seen as a lower ceiling."""


async def run(made: Settings, numbers: list[str], prompt: str, ceiling: int, rate: float, seconds: float) -> int:
    """Calls every number once, or as many as it gets to; how many keys came back."""
    answers = Answers(prompt)
    await answers.serve(made)
    cel_file = made.nodes[0].cel_file
    assert cel_file is not None, "the lab says it"
    spool = cel_file.parents[1] / "spool"
    outgoing, beside = spool / "outgoing", spool / "beside"
    beside.mkdir()
    shutil.chown(beside, spool.stat().st_uid, spool.stat().st_gid)
    room = ceiling
    for number, at in due(numbers, rate, seconds):
        while room <= 0:
            await asyncio.sleep(LOOK_EVERY_S)
            room = ceiling - len(os.listdir(outgoing))
        await asyncio.sleep(max(0.0, at - monotonic()))
        room -= 1
        _drop(beside / number, outgoing / number, made.trunks[0].name)
    while os.listdir(outgoing):
        await asyncio.sleep(LOOK_EVERY_S)
    return answers.count


def _drop(written: Path, final: Path, trunk: str) -> None:
    """Written beside, then moved in: Asterisk would read half a file. It removes the file itself, so it must own it."""
    written.write_text(
        f"Channel: PJSIP/{final.name}@{trunk}\nCallerID: <{CALLER_ID}>\nWaitTime: 30\nMaxRetries: 0\n"
        f"Context: {names.FLOW_CONTEXT}\nExtension: s\nPriority: 1\n",
        encoding="ascii",
    )
    owner = final.parent.stat()
    os.chown(written, owner.st_uid, owner.st_gid)
    written.rename(final)


if __name__ == "__main__":
    _, at, listed, spoken, most, pace, length = sys.argv
    wanted = Path(listed).read_text(encoding="utf-8").split()
    print(asyncio.run(run(settings.load(Path(at), {}), wanted, spoken, int(most), float(pace), float(length))))
