"""Asterisk's side of FastAGI with a person on the line, over a real socket: for tests of the workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from dialer import names, tokens


@dataclass(kw_only=True)
class Call:
    """What one call did to the worker, and what it heard."""

    heard: list[Path] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    bytes_after_close: bytes = b""


def request(
    attempt_id: UUID, key: bytes, *, uniqueid: str | None = None, route: str = names.AGI_FLOW_ROUTE, turn: int = 1
) -> bytes:
    """The header block that Asterisk sends (res_agi.c, setup_env), shortened to what differs from call to call."""
    lines = [
        "agi_network: yes",
        f"agi_network_script: {route}",
        f"agi_request: agi://127.0.0.1/{route}",
        "agi_channel: PJSIP/carrier-a-00000001",
        f"agi_uniqueid: {uniqueid or names.channel_id(attempt_id)}",
        "agi_callerid: +48221234567",
        f"agi_arg_1: {tokens.sign(attempt_id, key)}",
        f"agi_arg_2: {turn}",
    ]
    return ("\n".join(lines) + "\n\n").encode()


class FakeAsterisk:
    """One call. `script` has a word for each prompt heard: `on` listens, `bye` hangs up, keys as pressed (`5`, `12#`,
    `1…` for keys and then nothing)."""

    def __init__(self, port: int, script: str, *, before_reply: Callable[[str], None] = lambda command: None) -> None:
        self._port, self._script, self._before_reply = port, iter(script.split()), before_reply
        self._gone = False
        self.call = Call()

    async def run(self, header: bytes) -> Call:
        """The whole call, until the worker closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        try:
            writer.write(header)
            while line := await reader.readline():
                command = line.decode().rstrip("\n")
                self.call.commands.append(command)
                self._before_reply(command)
                writer.write(self._reply(command).encode())
        except ConnectionError:
            pass
        finally:
            writer.close()
        return self.call

    def _reply(self, command: str) -> str:
        if command.startswith("SET VARIABLE "):
            _, _, name, value = command.split(" ", 3)
            self.call.variables[name] = value.strip('"')
            return "200 result=1\n"
        if self._gone:
            return "511 Command Not Permitted on a dead channel or intercept routine\n"
        if command.startswith("SET AUTOHANGUP "):
            return "200 result=0\n"
        if command == "CHANNEL STATUS":
            return "200 result=6\n"
        return self._prompt(command)

    def _prompt(self, command: str) -> str:
        asking = command.startswith("GET DATA ")
        sound = Path(command.split('"')[1] + ".alaw")
        if not sound.is_file():
            return "200 result=-1\n" if asking else "200 result=0 endpos=0\n"
        self.call.heard.append(sound)
        act = next(self._script, "on")
        if act == "bye":
            self._gone = True
            return "200 result=-1\nHANGUP\n" if asking else "HANGUP\n200 result=-1 endpos=800\n"
        if not asking:
            assert act == "on", f"the script presses {act} in a prompt that does not ask"
            return f"200 result=0 endpos={sound.stat().st_size}\n"
        most = int(command.rsplit(" ", 1)[1])
        digits = act.rstrip("#…")[:most]
        silent = len(digits) < most and not act.endswith("#")
        return f"200 result={digits}{' (timeout)' if silent else ''}\n"


async def call(port: int, attempt_id: UUID, key: bytes, script: str) -> Call:
    """An ordinary call of ours."""
    return await FakeAsterisk(port, script).run(request(attempt_id, key))
