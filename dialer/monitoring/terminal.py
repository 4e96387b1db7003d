"""What an operator sees while a campaign runs: a live table, plain lines for logs, JSON lines for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dialer.engine.progress import Progress, as_data
from dialer.monitoring.words import Hold, in_words
from dialer.pacing.decide import Binding

PLAIN_EVERY_S = 5.0


class View(Protocol):
    """Shows progress; `update` is called about four times a second."""

    def update(self, progress: Progress) -> None:
        """Shows where the campaign stands."""
        ...

    def note(self, text: str) -> None:
        """Shows one sentence."""
        ...

    def close(self) -> None:
        """Leaves the terminal as it was."""
        ...


def open_view(stream: TextIO, *, as_json: bool, monotonic: Callable[[], float]) -> View:
    """The view that fits: JSON when asked, a live table on a terminal, else plain lines."""
    if as_json:
        return _JsonLines(stream, monotonic, 1.0, lambda progress: json.dumps({"progress": as_data(progress)}))
    if stream.isatty():
        return _LiveTable(stream)
    return _Lines(stream, monotonic, PLAIN_EVERY_S, plain)


def plain(progress: Progress) -> str:
    """One line for a log."""
    verdicts = ", ".join(f"{name} {count}" for name, count in progress.dispositions.items()) or "none yet"
    done = f"{_done(progress)}/{progress.contacts} contacts done"
    return (
        f"{progress.at.astimezone():%H:%M:%S} {progress.campaign}: "
        f"{progress.calls_now}/{progress.max_concurrent} calls, "
        f"{progress.calls_per_second:.1f}/s, {done}, wave {progress.wave or '-'}, "
        f"verdicts: {verdicts}; {outlook(progress)}"
    )


def outlook(progress: Progress) -> str:
    """What comes next, or why nothing does."""
    why = in_words([Hold(binding=progress.binding)])
    if progress.binding is Binding.NODE_REFUSES:
        return f"{why}: {progress.refusal}"
    if progress.binding in (Binding.NOTHING_DUE, Binding.WINDOW_CLOSED):
        if progress.next_call_at is not None and progress.next_call_at > progress.at:
            return f"{why}; the next call at {_moment(progress.next_call_at, progress.at)}"
        return why
    pace = progress.calls_per_second if progress.binding is Binding.CEILING else progress.max_calls_per_second
    waiting = progress.due_now - progress.never
    if progress.binding in (Binding.RATE, Binding.CEILING) and waiting > 0 and pace:
        return f"{why}; about {_duration(waiting / pace)} to dial {waiting} more"
    return why


def _moment(at: datetime, now: datetime) -> str:
    """Local time; with the day when it is not today."""
    local = at.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == now.astimezone().date() else f"{local:%Y-%m-%d %H:%M}"


def summary(progress: Progress, *, drained: bool) -> Table:
    """The last word: what became of every contact."""
    left = progress.contacts - _done(progress)
    table = Table(
        title=f"{progress.campaign}: {'stopped' if drained and left > progress.never else 'finished'}",
        title_justify="left",
    )
    table.add_column("verdict")
    table.add_column("calls", justify="right")
    for name, count in progress.dispositions.items():
        table.add_row(name, str(count))
    table.add_section()
    for label, count in (
        ("contacts", progress.contacts),
        ("closed", progress.closed),
        ("held for an operator", progress.held),
        ("never inside their window", progress.never),
        ("still to call", left - progress.never),
    ):
        table.add_row(label, str(count))
    return table


def _done(progress: Progress) -> int:
    return progress.closed + progress.held


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Lines:
    def __init__(
        self, stream: TextIO, monotonic: Callable[[], float], every_s: float, line: Callable[[Progress], str]
    ) -> None:
        self._stream, self._monotonic, self._every_s, self._line = stream, monotonic, every_s, line
        self._next = 0.0

    def update(self, progress: Progress) -> None:
        if self._monotonic() >= self._next:
            self._next = self._monotonic() + self._every_s
            print(self._line(progress), file=self._stream, flush=True)

    def note(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        self._stream.flush()


class _JsonLines(_Lines):
    def note(self, text: str) -> None:
        super().note(json.dumps({"note": text}))


class _LiveTable:
    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._live.start()

    def update(self, progress: Progress) -> None:
        self._live.update(_picture(progress))

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        self._live.stop()


def _picture(progress: Progress) -> Group:
    facts = Table.grid(padding=(0, 2))
    facts.add_row("calls now", f"{progress.calls_now} of {progress.max_concurrent}",
                  "new calls", f"{progress.calls_per_second:.1f} a second")  # fmt: skip
    facts.add_row("wave", str(progress.wave or "-"), "launched", str(progress.launched))
    verdicts = Table.grid(padding=(0, 2))
    for name, count in progress.dispositions.items():
        verdicts.add_row(name, str(count))
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=max(1, progress.contacts), completed=_done(progress), width=40),
        f"{_done(progress)} of {progress.contacts} contacts done",
    )
    return Group(Text(progress.campaign, style="bold"), bar, facts, verdicts, Text(outlook(progress), style="dim"))
