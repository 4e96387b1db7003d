"""Ramp-up: a campaign begins with a tenth of its limits, so that a wrong list or flow shows while few are called."""

from __future__ import annotations

FIRST_SHARE = 0.1
"""What a ramp begins with: enough that the first minute shows how calls end, a tenth of the harm if they end badly."""


def ramped(limit: float, running_for_s: float, ramp_s: float) -> float:
    """The part of `limit` (calls, or calls a second) that holds `running_for_s` after the campaign began to dial."""
    if running_for_s >= ramp_s:
        return limit
    return limit * (FIRST_SHARE + (1.0 - FIRST_SHARE) * max(0.0, running_for_s) / ramp_s)
