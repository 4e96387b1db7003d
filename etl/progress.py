"""How far a night is, on stderr: bars at a terminal, else a line for each tenant that is done."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from etl.lanes import Result


class Bars:
    """One bar for the night and one line for each tenant at work; a Watch."""

    def __init__(self, tenants: int) -> None:
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
        )  # fmt: skip
        self._all = self._progress.add_task("tenants", total=tenants)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        self._progress.stop()

    def say(self, tenant: str, what: str) -> None:
        """See Watch."""
        text = f"{tenant}: {what}"
        if tenant in self._tasks:
            self._progress.update(self._tasks[tenant], description=text, advance=1)
        else:
            self._tasks[tenant] = self._progress.add_task(text, total=None)

    def done(self, result: Result) -> None:
        """See Watch."""
        if task := self._tasks.pop(result.tenant, None):
            self._progress.remove_task(task)
        self._progress.advance(self._all)
        self._progress.console.print(line(result), highlight=False, markup=False, soft_wrap=True)


def line(result: Result) -> str:
    """A tenant's result in a sentence."""
    if result.elsewhere:
        return f"{result.tenant}: {result.error}"
    if result.error:
        return f"{result.tenant}: failed, nothing of it is read by reports: {result.error}"
    if not result.days:
        return f"{result.tenant}: nothing new (run {result.run})"
    days = f"{result.days[0]}" if len(result.days) == 1 else f"{len(result.days)} days from {result.days[0]} on"
    return f"{result.tenant}: {days} written (run {result.run})"
