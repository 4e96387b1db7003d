"""The folder that receives a daily base: which delivery is the newest that is complete, and where broken ones go."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dialer.contacts.sources import ASIDE, DONE_SUFFIX, WHY_SUFFIX, pattern_of

RESTS_S = 10
"""So long nobody has written to a delivery that is complete, unless a `.done` file stands beside it."""


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A file at one look: when it has the same one at the next, nobody wrote to it between."""

    path: Path
    size: int
    modified_ns: int

    @property
    def is_done(self) -> bool:
        """Whether whoever delivers says that it is complete."""
        return self.path.with_name(self.path.name + DONE_SUFFIX).exists()


def deliveries(base_dir: Path, source: str) -> list[Stamp]:
    """What a pattern names now, the newest first: by the date in the name, then by when it was written."""
    pattern = pattern_of(base_dir, source)
    found: list[tuple[str, Stamp]] = []
    try:
        entries = list(pattern.folder.iterdir())
    except OSError:
        # No folder yet, or a share that is away: nothing is delivered, and the next look asks again.
        return []
    for path in entries:
        date = pattern.date_of(path.name)
        try:
            if date is not None and path.is_file():
                status = path.stat()
                found.append((date, Stamp(path=path, size=status.st_size, modified_ns=status.st_mtime_ns)))
        except OSError:
            continue
    found.sort(key=lambda one: (one[0], one[1].modified_ns, one[1].path.name), reverse=True)
    return [stamp for _, stamp in found]


def newest(stamps: list[Stamp], rests: Callable[[Stamp], bool]) -> Stamp | None:
    """The newest that is complete. An empty file is not: it was only opened yet, or says so with `.done`."""
    return next((one for one in stamps if one.is_done or (one.size > 0 and rests(one))), None)


def newest_at_rest(base_dir: Path, source: str, now: datetime) -> Path | None:
    """The newest complete delivery for a command that looks once: it was written to `RESTS_S` ago or earlier."""
    limit_ns = int((now.timestamp() - RESTS_S) * 1e9)
    found = newest(deliveries(base_dir, source), lambda stamp: stamp.modified_ns <= limit_ns)
    return found.path if found is not None else None


def put_aside(path: Path, why: str) -> Path:
    """Moves a broken delivery to `aside/`, its reason beside it. Raises OSError."""
    folder = path.parent / ASIDE
    folder.mkdir(exist_ok=True)
    target = folder / path.name
    number = 1
    while target.exists():
        number += 1
        target = folder / f"{path.stem}.{number}{path.suffix}"
    shutil.move(path, target)
    (folder / f"{target.name}{WHY_SUFFIX}").write_text(why + "\n", encoding="utf-8")
    done = path.with_name(path.name + DONE_SUFFIX)
    if done.exists():
        shutil.move(done, folder / f"{target.name}{DONE_SUFFIX}")
    return target
