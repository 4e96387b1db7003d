"""The ceiling: the least that can lead the same calls. panoramisk's AMI and FastAGI, one loop, no database, no care.

Started as `python -m bench.bare SETTINGS NUMBERS PROMPT CEILING RATE SECONDS`; ends when every call has; prints the
answers. It redials nothing, stores nothing and trusts everything: a ceiling for the engine, not an example for anybody.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

from panoramisk import Manager
from panoramisk.fast_agi import Application

from dialer import names, settings
from dialer.clock import monotonic
from dialer.secret_file import read_secret
from dialer.settings import Settings

CALLER_ID = "+48221234567"


class Answers:
    """A FastAGI server that asks the one question, and how many keys came back."""

    def __init__(self, prompt: str) -> None:
        self._prompt, self.count = prompt, 0

    async def serve(self, made: Settings) -> None:
        """Listens where the settings say that the workers do."""
        application = Application()
        application.add_route(names.AGI_FLOW_ROUTE, self._script)
        await asyncio.start_server(application.handler, made.agi.host, made.agi.port, backlog=1024)

    async def _script(self, request: object) -> None:
        answer = await request.send_command(f'GET DATA "{self._prompt}" 5000 1')  # type: ignore[attr-defined]
        self.count += bool(answer.get("result", ("", ""))[0])
        await request.send_command(f"SET VARIABLE {names.DONE_VARIABLE} 1")  # type: ignore[attr-defined]


def due(numbers: list[str], rate: float, seconds: float) -> Iterator[tuple[str, float]]:
    """Each number and the monotonic time when it may be called, until `seconds` from now."""
    started = monotonic()
    for count, number in enumerate(numbers):
        if count / rate >= seconds or monotonic() - started >= seconds:
            return
        yield number, started + count / rate


async def run(made: Settings, numbers: list[str], prompt: str, ceiling: int, rate: float, seconds: float) -> int:
    """Calls every number once, or as many as it gets to; how many keys came back."""
    node, trunk = made.nodes[0], made.trunks[0]
    answers = Answers(prompt)
    await answers.serve(made)
    slots, ended, under_way, all_sent = asyncio.Semaphore(ceiling), asyncio.Event(), 0, False
    manager = Manager(
        host=node.ami.host, port=node.ami.port, username=names.AMI_USER, secret=read_secret(node.ami.secret_file)
    )

    def on_hangup(_manager: Manager, _event: object) -> None:
        nonlocal under_way
        under_way -= 1
        slots.release()
        if all_sent and not under_way:
            ended.set()

    manager.register_event("Hangup", on_hangup)
    await manager.connect()
    while not manager.authenticated:
        await asyncio.sleep(0.05)
    for number, at in due(numbers, rate, seconds):
        await slots.acquire()
        await asyncio.sleep(max(0.0, at - monotonic()))
        under_way += 1
        manager.send_action(
            {
                "Action": "Originate",
                "ChannelId": f"bare-{number}",
                "Channel": f"PJSIP/{number}@{trunk.name}",
                "Context": names.FLOW_CONTEXT,
                "Exten": "s",
                "Priority": "1",
                "Timeout": "30000",
                "CallerID": f"<{CALLER_ID}>",
                "Async": "true",
            },
            as_list=False,
        )
    all_sent = True
    if under_way:
        await ended.wait()
    manager.close()
    return answers.count


if __name__ == "__main__":
    _, at, listed, spoken, most, pace, length = sys.argv
    wanted = Path(listed).read_text(encoding="utf-8").split()
    print(asyncio.run(run(settings.load(Path(at), {}), wanted, spoken, int(most), float(pace), float(length))))
