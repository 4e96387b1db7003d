"""A node's console: the one way to end a manager session that still holds the login but whose engine is gone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from subprocess import DEVNULL, PIPE

from dialer.clock import monotonic
from dialer.errors import AsteriskAway

TIMEOUT_S = 10.0
"""A console that answers at all does so in milliseconds."""
END_WITHIN_S = 5.0
_POLL_S = 0.05

_NAME_SHOWN = 15
"""`manager show connected` cuts longer user names (manager.c)."""
_SESSION = re.compile(r"\s*(\S+)\s+\S+\s+\d+\s+\d+\s+(\d+)\s+\d+\s+\d+\s+\d+\s*")
"""User, address, start, elapsed, descriptor, HTTP count, two masks of rights."""
_PROCESSOR = re.compile(r"\S+\s+\d+\s+(\d+)(?:\s+\d+)+\s*")
"""Name, processed, in queue, and more numbers."""
_HEADING = "FileDes"


@dataclass(frozen=True, kw_only=True)
class Console:
    """`argv` runs one console command that is appended to it as one argument: `("asterisk", "-rx")`."""

    argv: tuple[str, ...]

    async def run(self, command: str) -> str:
        """What the node prints for a command; no shell is involved. Raises AsteriskAway with what to do."""
        try:
            # A session of its own: Ctrl-C in the terminal must not cut a command in half.
            process = await asyncio.create_subprocess_exec(
                *self.argv, command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
            )
        except OSError as error:
            raise self._away(f"cannot be run ({error.strerror})") from error
        try:
            async with asyncio.timeout(TIMEOUT_S):
                printed, complaint = await process.communicate()
        except TimeoutError:
            raise self._away(f"did not answer in {TIMEOUT_S:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            said = (complaint or printed).decode(errors="replace").strip()[-200:]
            raise self._away(f"failed with status {process.returncode}: {said}")
        return printed.decode(errors="replace")

    async def deepest_queue(self) -> int:
        """How many tasks wait in the node's fullest taskprocessor (taskprocessor.c). Raises AsteriskAway."""
        rows = map(_PROCESSOR.fullmatch, (await self.run("core show taskprocessors")).splitlines())
        return max((int(row[1]) for row in rows if row), default=0)

    async def kick(self, user: str) -> int:
        """Ends every manager session of a user and waits for their end; how many there were.

        Raises AsteriskAway when the console does not work or a session does not end. A descriptor that changes hands
        between the listing and the kick would cost another user of the manager its session, which it then reopens.
        """
        kicked: set[str] = set()
        deadline = monotonic() + END_WITHIN_S
        while left := [*self._sessions(await self.run("manager show connected"), user)]:
            for descriptor in left:
                if descriptor not in kicked:
                    await self.run(f"manager kick session {descriptor}")
                    kicked.add(descriptor)
            if monotonic() > deadline:
                raise self._away(f"cannot end the manager session of {user!r} (descriptor {', '.join(left)})")
            await asyncio.sleep(_POLL_S)
        return len(kicked)

    def _sessions(self, listing: str, user: str) -> Iterator[str]:
        if _HEADING not in listing:
            raise self._away(f"printed no list of manager sessions but: {listing.strip()[:200]}")
        for line in listing.splitlines():
            match = _SESSION.fullmatch(line)
            if match and match[1] == user[:_NAME_SHOWN]:
                yield match[2]

    def _away(self, what: str) -> AsteriskAway:
        return AsteriskAway(
            f"the node's console {' '.join(self.argv)!r} {what}. Correct the node's `console` in the settings; "
            "this user must be allowed to run it."
        )
