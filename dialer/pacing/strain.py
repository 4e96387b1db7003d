"""Overload control of a node: the pace falls while Asterisk strains, and grows again by itself.

Asterisk refuses nothing: asked for more than it carries it takes every call, answers late, and whoever picks up hears
silence. So the pace follows what is measured, in four zones: calm, it grows (slow start to what was fine before, as in
RFC 5681, then gently); warm, it steps back to what was sent before the signs rose, as HyStart leaves slow start
(RFC 9406), and eases; strained, it falls; and when the signs stay bad though hardly anything is sent, no call starts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf

FLOOR = 1.0
"""Calls a second that a strained node still gets: without any call little shows that it is well again."""
START = 10.0
"""Calls a second that any node of today carries: a tenth of what one on two cores was measured to complete."""
DOUBLES_IN_S = 2.0
"""Slow start: signs show a second or two after the calls that caused them."""
GENTLE, GENTLE_MOST = 0.002, 0.03
"""Growth a second above what was fine, for each second that all was calm, and at most: the longer nothing shows, the
less likely the limit is near; but never so fast that a node is far past it before that shows."""
UNSEEN_LOOKS = 2
"""Looks until what was sent can be seen in the signs."""
FINE_SHARE = 0.9
"""Of what was sent that long ago: below what the node carries, so that what waits is worked off."""
EASE = 0.9
"""What is left of the pace after a second in which a warm node got no better."""
FALL = 0.7
"""What is left of it after a second of strain in which the node got no better, for each time the limit is reached."""
HARDEST = 3.0
"""So many times a limit is the hardest fall: a third of the pace is left."""
LONGEST_LOOK_S = 3.0
"""A late look counts as so much time, not more: what it measured says little of each second."""
LEAST_LEFT = 0.5
"""What was fine is forgotten by half at a time: one bad minute must not cost an hour of gentle growth."""
CALM_FOR_S = 3.0
"""No growth for so long after any sign, or calls that still wait would be taken for a node that is well."""
BUSY = 5.0
"""Calls a second; with fewer nothing is the pace's fault, and one bad call is a large share."""
STOP_AFTER = 5
"""Strained looks in a row with fewer calls than that, until none starts: then it is the calls that are open."""
STOPPED_S = 5.0
"""How long a stopped node must be calm before it gets calls again."""


@dataclass(frozen=True, kw_only=True)
class Signs:
    """What was measured on one node in the last second; None where there was nothing to measure."""

    channel_s: float | None
    """From order to channel, the 90th percentile."""
    audio_s: float | None
    """From answer to first audio, the slowest."""
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
    # A call without audio for 2 s is a silent one: half of that leaves the time to react.
    _Limit(sign="audio_s", most=1.0, text="answer to first audio {0:.1f} s (at most {1:g} s)"),
    # A node that is well makes a channel in some 10 ms.
    _Limit(sign="channel_s", most=0.5, text="order to channel {0:.1f} s (at most {1:g} s)"),
    # Asterisk adds worker threads from 250 waiting tasks on, and ignores incoming calls from 500.
    _Limit(sign="queue", most=250, text="{0:.0f} tasks wait in Asterisk (at most {1:g})"),
    _Limit(sign="unanswered", most=0.2, text="{0:.0%} of the calls without a SIP answer (at most {1:.0%})"),
    _Limit(sign="lag_s", most=0.25, text="an event loop is {0:.2f} s late (at most {1:g} s)"),
)
CALM = 0.25
"""The part of a limit up to which a sign is calm: first audio within 250 ms is what a node that is well delivers."""


class Pace:
    """The calls a second that one node gets now. `look` once a second, also when nothing is sent."""

    def __init__(self, most: float) -> None:
        self.most = most
        """The node's own limit, calls a second; may be set at any time."""
        self.strained = False
        """Whether a limit is passed, in two of the last three looks; and while `hold`."""
        self.hold = False
        """No call may start: the node strains though hardly any is sent, by those that are open."""
        self._sign = ""
        """The last sign that was not calm, in words."""
        self._pace = START
        self._fine = inf
        """Up to here the pace grows fast: it was carried before."""
        self._grown = self._fast = True
        """Whether the pace grew since it last stepped back, and whether fast."""
        self._loads: deque[float] = deque([0.0] * 3, maxlen=3)
        """Of each look, the worst sign as a part of its limit."""
        self._rates: deque[float] = deque(maxlen=1 + UNSEEN_LOOKS)
        """Calls a second that were sent before each look."""
        self._idle_strain = 0
        """Strained looks in a row with hardly any calls."""
        self._looked_at: float | None = None
        self._calm_since = -inf

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
        # The middle one of three: the slowest call of a second may be an outlier.
        typical = sorted(self._loads)[1]
        if load > CALM:
            self._sign = words
        if max(load, typical) > CALM:
            self._calm_since = now
        self._act(now, min(passed, LONGEST_LOOK_S), load, typical, worse=worse)

    def _act(self, now: float, passed: float, load: float, typical: float, *, worse: bool) -> None:
        calm_s = now - self._calm_since
        if self.hold and calm_s < STOPPED_S:
            return
        self.hold, began = False, not self.strained
        self.strained = typical > 1.0
        if self.strained:
            self._fall(passed * min(HARDEST, typical), began_or_worse=began or worse)
            return
        self._idle_strain = 0
        # While the pace doubles, a second spent on certainty puts as much again on the node.
        if typical > CALM or (load > CALM and self._fast):
            self._ease(passed, worse=worse)
        elif calm_s >= CALM_FOR_S:
            self._grow(passed, calm_s)

    @property
    def _used(self) -> float:
        return max(self._rates)

    @property
    def _hardly_asked(self) -> bool:
        """Whether few calls are sent because few are wanted, so that another pace would change nothing."""
        return self._used < BUSY <= self._pace

    def _fall(self, strength: float, *, began_or_worse: bool) -> None:
        self._idle_strain = 0 if self._used >= BUSY else self._idle_strain + 1
        if self._idle_strain >= STOP_AFTER:
            self.hold, self._pace = True, FLOOR
        if self._hardly_asked:
            return
        self._step_back()
        if began_or_worse:
            # From where the calls are: a pace that nobody uses would fall for long without any effect.
            self._pace = max(FLOOR, min(self._pace, self._used) * FALL**strength)

    def _ease(self, passed: float, *, worse: bool) -> None:
        if self._hardly_asked:
            return
        if not self._step_back() and worse:
            self._pace = max(FLOOR, self._pace * EASE**passed)

    def _step_back(self) -> bool:
        """To what was sent before the calls that show now; once, until the pace has grown again."""
        if not self._grown:
            return False
        least = LEAST_LEFT * self._fine if self._fine < inf else FLOOR
        self._fine = max(least, FLOOR, FINE_SHARE * min(self._pace, self._rates[0]))
        self._pace = min(self._pace, self._fine)
        self._grown = self._fast = False
        return True

    def _grow(self, passed: float, calm_s: float) -> None:
        # Growth is earned: a pace that was not used says nothing of what the node carries (RFC 7661).
        unused = self._rates[-1] < 0.5 * self.per_second
        self._fast = self._pace < min(self._fine, self.most) and not unused
        if unused or self._pace >= self.most:
            return
        if self._fast:
            begins_at = min(START, self._fine / 4)
            grown = min(self._fine, max(begins_at, self._pace * 2 ** (passed / DOUBLES_IN_S)))
        else:
            grown = self._pace + passed * max(0.1, self._pace * min(GENTLE_MOST, GENTLE * calm_s))
        self._pace, self._grown = min(self.most, grown), True


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
