"""A private PostgreSQL cluster of the distribution's own server: on a socket, as an unprivileged user, fsync on."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from dialer.errors import LabError

USER = "postgres"
"""Who runs the lab's servers when we are root: initdb and postgres refuse root. Debian's package makes this user."""

_SETTINGS = """
listen_addresses = ''
unix_socket_permissions = 0777
max_connections = 60
shared_buffers = 128MB
fsync = on
synchronous_commit = on
logging_collector = off
timezone = UTC
"""


def unprivileged() -> dict[str, object]:
    """Keyword arguments for subprocess that run a child as the lab's unprivileged user; none when we are not root."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        raise LabError(
            f"there is no user {USER!r} to run the lab's servers. Install Debian's `postgresql` package."
        ) from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def give_to_lab_user(path: Path) -> None:
    """Makes a file or directory the unprivileged user's, when we are root."""
    who = unprivileged()
    if who:
        os.chown(path, who["user"], who["group"])  # type: ignore[arg-type]


def binaries() -> Path:
    """The directory of the newest PostgreSQL server's programs."""
    found = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if found:
        return max(found, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0))
    on_path = shutil.which("postgres")
    if on_path:
        return Path(on_path).resolve().parent
    raise LabError("PostgreSQL's server is not installed. Run `make setup`, or `apt-get install postgresql`.")


def start_cluster(directory: Path) -> str:
    """Makes (once) and starts a cluster below `directory`; returns the URL of its database `dialer`.

    The directory becomes the unprivileged user's, and its path must be short: a socket's is at most 107 bytes.
    """
    data = directory / "data"
    if not (data / "PG_VERSION").exists():
        shutil.rmtree(data, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        give_to_lab_user(directory)
        _run("initdb", "-D", str(data), "-U", "dialer", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(_SETTINGS + f"unix_socket_directories = '{directory}'\n")
    if not is_running(directory):
        _run("pg_ctl", "-D", str(data), "-w", "-t", "30", "-l", str(directory / "log"), "start")
    if "dialer" not in _query(directory, "select datname from pg_database").split():
        _query(directory, "create database dialer")
    return url(directory)


def url(directory: Path, database: str = "dialer") -> str:
    """The URL of a database of the cluster."""
    return f"postgresql://dialer@/{database}?host={directory}"


def is_running(directory: Path) -> bool:
    """Whether the cluster's postmaster lives."""
    if not (directory / "data" / "PG_VERSION").exists():
        return False
    arguments = [str(binaries() / "pg_ctl"), "-D", str(directory / "data"), "status"]
    done = subprocess.run(arguments, capture_output=True, cwd="/", check=False, **unprivileged())  # type: ignore[call-overload]
    return bool(done.returncode == 0)


def stop_cluster(directory: Path) -> None:
    """Ends the cluster, at once if it must; nothing when it does not run."""
    if is_running(directory):
        _run("pg_ctl", "-D", str(directory / "data"), "-w", "-t", "20", "-m", "immediate", "stop")


def _query(directory: Path, statement: str) -> str:
    return _run("psql", "-h", str(directory), "-U", "dialer", "-d", "postgres", "-XAtqc", statement)


def _run(program: str, *arguments: str) -> str:
    path = binaries() / program
    done = subprocess.run(  # type: ignore[call-overload]
        [str(path), *arguments], capture_output=True, text=True, cwd="/", check=False,
        stdin=subprocess.DEVNULL, **unprivileged(),
    )  # fmt: skip
    if done.returncode:
        raise LabError(f"{program} failed: {(done.stderr or done.stdout).strip()[-600:]}")
    return str(done.stdout)
