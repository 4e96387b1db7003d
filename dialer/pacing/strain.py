"""Overload control of a node: the pace falls while Asterisk strains, and grows again by itself.

Asterisk refuses nothing: asked for more than it carries it takes every call, answers late, and whoever picks up hears
silence. So the pace follows what is measured. Calm, it grows as CUBIC does (RFC 9438): fast to what was fine, hardly at
all around it, and faster again the longer nothing shows. At one sign it takes back the growth whose work cannot have
shown yet. At a second one it falls, the further the worse they are, and waits for that to show. When the signs stay bad
though hardly anything is sent, no call starts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import cbrt

START = 10.0
"""Calls a second that any node of today carries: a tenth of what one on two cores was measured to complete."""
CURVE = 0.0003
"""Of the cubic, in fine paces a second cubed: back from 0.7 of what was fine in 10 s, and from there to 1.3 in 10 s."""
SHOWS_IN = 5
"""Looks until a pace shows in the signs: a call's second half of work, its keys and its end, comes seconds after it
began. Before that neither what has grown is proven, nor a fall judged."""
MUCH_WORSE = 1.5
"""Times as bad as when the pace fell: then it falls again before that can show."""
FALL = 0.7
"""What a sign that is just no longer calm leaves of the pace; twice as bad, that much squared."""
HARDEST = 3.0
"""So many times that is the hardest fall: a third of the pace is left."""
FLOOR = 1.0
"""Calls a second that a strained node still gets: without any call little shows that it is well again."""
BUSY = 5.0
"""Calls a second; with fewer one bad call is a large share, and the pace falls below it only when a limit is passed."""


@dataclass(frozen=True, kw_only=True)
class Signs:
    """What was measured on one node in the last second; None where there was nothing to measure."""

    channel_s: float | None
    """From order to channel, the 90th percentile."""
    audio_s: float | None
    """From answer to first audio, the 90th percentile: one slow call among many says nothing of the node."""
    unanswered: float
    """The share of the orders that ended which got no SIP answer, 0 to 1."""
    queue: int | None
    """Tasks that wait in Asterisk's deepest taskprocessor."""
    lag_s: float | None
    """How late the engine's or the workers' event loop ran."""


@dataclass(frozen=True, kw_only=True)
class _Limit:
    """What one sign may come to."""

    sign: str
    most: float
    text: str
    """With the value and the limit."""


LIMITS = (
    # A call without audio for 2 s is a silent one: what is left of that is the time to react.
    _Limit(sign="audio_s", most=1.5, text="answer to first audio {0:.1f} s (at most {1:g} s)"),
    # A node that is well makes a channel in some 10 ms, a full one in some 100.
    _Limit(sign="channel_s", most=1.0, text="order to channel {0:.1f} s (at most {1:g} s)"),
    # Asterisk adds worker threads from 250 waiting tasks on, and ignores incoming calls from 500.
    _Limit(sign="queue", most=250, text="{0:.0f} tasks wait in Asterisk (at most {1:g})"),
    _Limit(sign="unanswered", most=0.2, text="{0:.0%} of the calls without a SIP answer (at most {1:.0%})"),
    # Every message and every prompt comes later by that. A full machine makes a loop late by up to 0.3 s, and its
    # neighbours by another 0.4: so much is calm.
    _Limit(sign="lag_s", most=1.5, text="an event loop is {0:.2f} s late (at most {1:g} s)"),
)
CALM = 0.5
"""The part of a limit up to which a sign is calm: with the machine full, and nothing lost, even the slowest first audio
of a second was measured at 0.5 to 0.7 s (docs/benchmarks.md, ivr_full)."""


class Pace:
    """The calls a second that one node gets now. `look` once a second, also when nothing is sent."""

    def __init__(self, most: float) -> None:
        self.most = most
        """The node's own limit, calls a second; may be set at any time."""
        self.strained = False
        """Whether a limit is passed, in two looks one after the other."""
        self.hold = False
        """No call may start: the node strains though hardly any is sent, by those that are open."""
        self._sign = ""
        """The last sign that was not calm, in words."""
        self._pace = self._fine = START
        """Fine is where the pace stood when the signs last rose, without the growth that they could not show."""
        self._paces: deque[float] = deque([START], maxlen=1 + SHOWS_IN)
        """After each look; the first is what held SHOWS_IN looks ago."""
        self._rates: deque[float] = deque(maxlen=1 + SHOWS_IN)
        """Calls a second that were sent before each look."""
        self._loads: deque[float] = deque([0.0] * 3, maxlen=3)
        """Of each look, the worst sign as a part of its limit."""
        self._grown = True
        """Whether the pace grew since it last fell."""
        self._looks_since_fall, self._fell_at = SHOWS_IN, 0.0
        """Since the pace last fell; and what the load was then."""
        self._looked_at: float | None = None

    @property
    def per_second(self) -> float:
        """Calls a second that may be sent now; 0: none."""
        return 0.0 if self.hold else min(self._pace, self.most)

    @property
    def why(self) -> str:
        """What keeps the pace below the node's limit, for a person; empty when nothing does."""
        if self.hold:
            return f"{self._sign} though hardly any calls are sent: no call starts until the node is calm"
        if self.strained:
            return self._sign
        if self.per_second >= self.most:
            return ""
        return f"growing again after: {self._sign}" if self._sign else "growing from the start"

    def look(self, now: float, signs: Signs, sent: int) -> None:
        """Judges what was measured since the last look (monotonic seconds), in which `sent` orders left."""
        passed = max(0.1, now - self._looked_at) if self._looked_at is not None else 1.0
        self._looked_at = now
        self._rates.append(sent / passed)
        load, words = _worst(signs, busy=self._used >= BUSY)
        worse = load >= self._loads[-1]
        self._loads.append(load)
        self._looks_since_fall += 1
        # One look may be an outlier.
        sure = min(load, self._loads[-2])
        self.strained = sure > 1.0
        if max(self._loads) <= CALM:
            self.hold = False
            self._grow()
        elif load > CALM:
            self._sign = words
            self._pace = min(self._pace, self._paces[0])
            unseen = self._looks_since_fall < SHOWS_IN and load <= MUCH_WORSE * self._fell_at
            if sure > CALM and worse and not unseen:
                self._fall(sure)
        self._paces.append(self._pace)

    @property
    def _used(self) -> float:
        return max(self._rates)

    def _grow(self) -> None:
        # Growth is earned: a pace that was not used says nothing of what the node carries (RFC 7661).
        if self._pace >= self.most or self._used < 0.5 * self._pace:
            return
        along_s = cbrt((self._pace / self._fine - 1) / CURVE)
        self._pace, self._grown = min(self.most, self._fine * (1 + CURVE * (along_s + 1) ** 3)), True

    def _fall(self, load: float) -> None:
        if self._grown:
            # By half at most: one bad minute must not make it forget what the node carries.
            self._fine, self._grown = max(self._fine / 2, self._pace, FLOOR), False
        lasts = min(self._loads) > 1.0
        self.hold = self.hold or (lasts and self._pace <= FLOOR)
        # From where the calls are: a pace that nobody uses would fall for long without any effect.
        left = min(self._pace, self._used) * FALL ** min(HARDEST, load / CALM)
        self._pace = min(self._pace, max(left, FLOOR if lasts else BUSY))
        self._looks_since_fall, self._fell_at = 0, load


def _worst(signs: Signs, *, busy: bool) -> tuple[float, str]:
    """The sign that is highest for its limit, as a part of it, and in words."""
    worst, words = 0.0, ""
    for limit in LIMITS:
        value = getattr(signs, limit.sign)
        if value is None or (limit.sign == "unanswered" and not busy):
            continue
        if value / limit.most > worst:
            worst, words = value / limit.most, limit.text.format(value, limit.most)
    return worst, words
