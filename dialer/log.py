"""Log lines of every process: one JSON object a line, with at, level and event; telephone numbers masked."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from dialer import phone
from dialer.clock import Clock, from_epoch
from dialer.errors import DialerError

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")


class JsonLines(logging.Formatter):
    """`log.info("call_refused", extra={"reason": "token"})` as one JSON line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": from_epoch(record.created).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "process": record.process,
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        text = json.dumps(line, ensure_ascii=False, default=str)
        return _NUMBER.sub(lambda number: phone.mask(number[0]), text)


def set_up() -> None:
    """Sends every log line of this process to stderr."""
    _use(logging.StreamHandler(sys.stderr))


def to_file(path: Path) -> None:
    """Appends every log line of this process to a file; the terminal belongs to the progress."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _use(logging.FileHandler(path, encoding="utf-8"))
        # A disk without space must not print a traceback a line into the operator's progress.
        logging.raiseExceptions = False
    except OSError as error:
        raise DialerError(
            f"the log {path} cannot be written: {error.strerror}. Correct `state_dir` in the settings, or its owner."
        ) from error


def _use(handler: logging.Handler) -> None:
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # It logs every tick.
    logging.getLogger("apscheduler").setLevel(logging.WARNING)


class Sparse:
    """Log lines about strangers on the port: counted, and written at most every ten seconds for each reason."""

    EVERY_S = 10.0

    def __init__(self, log: logging.Logger, clock: Clock) -> None:
        self._log, self._clock = log, clock
        self.counts: Counter[str] = Counter()
        self._silent_until: dict[str, float] = {}
        self._written: Counter[str] = Counter()

    def note(self, event: str, reason: str) -> None:
        """Counts one; the line says how many there were since the last."""
        self.counts[reason] += 1
        now = self._clock.monotonic()
        if now < self._silent_until.get(reason, 0.0):
            return
        self._silent_until[reason] = now + self.EVERY_S
        times = self.counts[reason] - self._written[reason]
        self._written[reason] = self.counts[reason]
        self._log.warning(event, extra={"reason": reason, "times": times})
