"""The ceiling: the least that can lead the same calls. panoramisk's AMI and FastAGI, one loop, no database, no care.

Started as `python -m bench.bare SETTINGS NUMBERS PROMPT CEILING RATE`; ends when every call has; prints the answers.
It redials nothing, stores nothing and trusts everything: a ceiling for the engine, not an example for anybody.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from panoramisk import Manager
from panoramisk.fast_agi import Application

from dialer import names, settings
from dialer.clock import monotonic
from dialer.settings import read_secret


async def run(settings_path: Path, numbers_path: Path, prompt: str, ceiling: int, rate: float) -> int:
    """Calls every number once; how many keys came back."""
    made = settings.load(settings_path, {})
    node, trunk = made.nodes[0], made.trunks[0]
    numbers = numbers_path.read_text(encoding="utf-8").split()
    answers = 0

    async def script(request: object) -> None:
        nonlocal answers
        answer = await request.send_command(f'GET DATA "{prompt}" 5000 1')  # type: ignore[attr-defined]
        answers += bool(answer.get("result", ("", ""))[0])
        await request.send_command(f"SET VARIABLE {names.DONE_VARIABLE} 1")  # type: ignore[attr-defined]

    application = Application()
    application.add_route(names.AGI_FLOW_ROUTE, script)
    await asyncio.start_server(application.handler, made.agi.host, made.agi.port, backlog=1024)
    slots, ended, left = asyncio.Semaphore(ceiling), asyncio.Event(), len(numbers)
    manager = Manager(
        host=node.ami.host, port=node.ami.port, username=names.AMI_USER, secret=read_secret(node.ami.secret_file)
    )

    def on_hangup(_manager: Manager, _event: object) -> None:
        nonlocal left
        left -= 1
        slots.release()
        if left == 0:
            ended.set()

    manager.register_event("Hangup", on_hangup)
    await manager.connect()
    while not manager.authenticated:
        await asyncio.sleep(0.05)
    started = monotonic()
    for count, number in enumerate(numbers):
        await slots.acquire()
        await asyncio.sleep(max(0.0, started + count / rate - monotonic()))
        manager.send_action(
            {
                "Action": "Originate",
                "ChannelId": f"bare-{count}",
                "Channel": f"PJSIP/{number}@{trunk.name}",
                "Context": names.FLOW_CONTEXT,
                "Exten": "s",
                "Priority": "1",
                "Timeout": "30000",
                "CallerID": "<+48221234567>",
                "Async": "true",
            },
            as_list=False,
        )
    await ended.wait()
    manager.close()
    return answers


if __name__ == "__main__":
    _, at, listed, spoken, most, pace = sys.argv
    print(asyncio.run(run(Path(at), Path(listed), spoken, int(most), float(pace))))
