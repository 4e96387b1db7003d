"""The node's console: which session is ended, and what an operator reads when the console does not work."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dialer.ami import console as console_module
from dialer.ami.console import Console
from dialer.errors import AsteriskAway

HEADING = "  Username         IP Address            Start       Elapsed     FileDes   HttpCnt   ReadPerms   WritePerms"
"""As Asterisk 22.10 prints it, with a narrower address."""
SCRIPT = """
case "$1" in
  "manager show connected") cat "$0.sessions" ;;
  "manager kick session "*)
    echo "$1" >> "$0.kicked"
    grep -v "  ${1##* }  " "$0.sessions" > "$0.left"; mv "$0.left" "$0.sessions"
    echo "Kicking manager session connected using file descriptor ${1##* }" ;;
esac
"""


def session(user: str, descriptor: int) -> str:
    return (
        f"  {user:.15}           127.0.0.1             1795302039  0           {descriptor}        0         "
        "0000000003  0000004610"
    )


def console(folder: Path, *sessions: str, script: str = SCRIPT) -> Console:
    program = folder / "console.sh"
    program.write_text(script, encoding="utf-8")
    listing = "\n".join([HEADING, *sessions, f"{len(sessions)} users connected."])
    (folder / "console.sh.sessions").write_text(listing + "\n", encoding="utf-8")
    return Console(argv=("/bin/sh", str(program)))


async def test_every_session_of_the_user_is_ended_and_no_other(tmp_path):
    sessions = session("dialer", 15), session("dialer-watch", 16), session("dialer", 17)
    assert await console(tmp_path, *sessions).kick("dialer") == 2
    kicked = (tmp_path / "console.sh.kicked").read_text(encoding="utf-8").splitlines()
    assert kicked == ["manager kick session 15", "manager kick session 17"]


async def test_a_long_name_is_found_as_asterisk_cuts_it(tmp_path):
    assert await console(tmp_path, session("dialer-of-node-17", 15)).kick("dialer-of-node-17") == 1


async def test_nothing_to_end_is_no_error(tmp_path):
    assert await console(tmp_path, session("dialer-watch", 16)).kick("dialer") == 0
    assert not (tmp_path / "console.sh.kicked").exists()


async def test_a_session_that_stays_is_an_error_and_is_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(console_module, "END_WITHIN_S", 0.1)
    script = SCRIPT.replace("grep -v", "true #")
    with pytest.raises(AsteriskAway, match=r"cannot end the manager session of 'dialer' \(descriptor 15\)"):
        await console(tmp_path, session("dialer", 15), script=script).kick("dialer")
    assert (tmp_path / "console.sh.kicked").read_text(encoding="utf-8") == "manager kick session 15\n"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'Unable to connect to remote asterisk' >&2; exit 1", "status 1: Unable to connect to remote asterisk"),
        ("echo 'No such command'", "no list of manager sessions but: No such command"),
        ("exec sleep 60", "did not answer in 0.2 s"),
    ],
)
async def test_a_console_that_does_not_work_says_what_to_mend(tmp_path, monkeypatch, script, told):
    monkeypatch.setattr(console_module, "TIMEOUT_S", 0.2)
    with pytest.raises(AsteriskAway, match=told) as caught:
        await asyncio.wait_for(console(tmp_path, script=script).kick("dialer"), 10)
    assert "`console` in the settings" in str(caught.value)


async def test_a_console_that_is_not_there_says_so():
    with pytest.raises(AsteriskAway, match="cannot be run"):
        await Console(argv=("/no/such/asterisk", "-rx")).kick("dialer")


async def test_no_shell_reads_the_command():
    assert await Console(argv=("echo",)).run("$HOME; `id`") == "$HOME; `id`\n"
