"""What a changed file does to people, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dialer.campaign.calendar import Interval
from dialer.monitoring.plan_page import Move, coming, moves
from dialer.storage.funnel import Bucket, Coming

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


def hours(*spans: tuple[float, float]) -> dict[str, list[Interval]]:
    """Open from so many hours after now to so many."""
    return {"z": [Interval(opens_at=NOW + timedelta(hours=one), closes_at=NOW + timedelta(hours=two))
                  for one, two in spans]}  # fmt: skip


@pytest.mark.parametrize(
    ("due_in_h", "was", "becomes", "before", "after", "expected"),
    [
        (None, Bucket.WINDOW, Bucket.DUE, hours((1, 5)), hours((0, 5)), Move.DUE_NOW),
        (None, Bucket.DUE, Bucket.WINDOW, hours((0, 5)), hours((1, 5)), Move.NOT_NOW),
        (None, Bucket.DUE, Bucket.DUE, hours((0, 5)), hours((0, 2)), Move.STAYS),
        (None, Bucket.DUE, Bucket.UNCARRIED, hours((0, 5)), hours((0, 5)), Move.LEAVES),
        (None, Bucket.UNCARRIED, Bucket.DUE, hours((0, 5)), hours((0, 5)), Move.JOINS),
        (3, Bucket.RETRY, Bucket.RETRY, hours((0, 5)), hours((0, 1), (4, 5)), Move.LATER),
        (3, Bucket.RETRY, Bucket.RETRY, hours((0, 1), (4, 5)), hours((0, 5)), Move.EARLIER),
        (3, Bucket.CAP, Bucket.CAP, hours((0, 5)), hours((1, 5)), Move.STAYS),
        (6, Bucket.RETRY, Bucket.RETRY, hours((0, 5), (8, 9)), hours((0, 5)), Move.LEAVES),
        (6, Bucket.RETRY, Bucket.RETRY, hours((0, 5)), hours((0, 5)), None),
        (None, Bucket.CLOSED, Bucket.CLOSED, hours((0, 5)), hours((0, 5)), None),
        (None, Bucket.HELD, Bucket.HELD, hours((0, 5)), {}, None),
    ],
)
def test_each_person_is_moved_in_one_way(due_in_h, was, becomes, before, after, expected):
    due_at = NOW + timedelta(hours=due_in_h) if due_in_h is not None else None
    pair = (Coming(key="z", bucket=was, due_at=due_at, people=3), becomes)
    assert moves([pair], before, after, NOW) == ({expected: 3} if expected else {})


def test_who_is_to_be_called_before_and_after():
    pairs = [
        (Coming(key="z", bucket=Bucket.DUE, due_at=None, people=3), Bucket.UNCARRIED),
        (Coming(key="z", bucket=Bucket.NEVER, due_at=None, people=2), Bucket.WINDOW),
        (Coming(key="z", bucket=Bucket.HELD, due_at=None, people=9), Bucket.HELD),
    ]
    assert [(one.bucket, one.people) for one in coming(pairs, after=False)] == [(Bucket.DUE, 3)]
    assert [(one.bucket, one.people) for one in coming(pairs, after=True)] == [(Bucket.WINDOW, 2)]
