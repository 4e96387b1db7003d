"""Ramp-up: from a tenth to the whole."""

from __future__ import annotations

import pytest

from dialer.pacing.ramp import ramped


@pytest.mark.parametrize(
    ("limit", "running_for_s", "ramp_s", "expected"),
    [
        (100, 0, 300, 10),
        (100, 150, 300, 55),
        (100, 300, 300, 100),
        (100, 9000, 300, 100),
        (0.5, 0, 60, 0.05),
        (100, 0, 0, 100),
        (100, -5, 300, 10),
    ],
)
def test_ramped(limit, running_for_s, ramp_s, expected):
    assert ramped(limit, running_for_s, ramp_s) == pytest.approx(expected)
