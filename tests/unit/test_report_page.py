"""The page of pictures: its scale, its columns, and that nothing of a campaign's words is ever markup."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest

from etl.reports.html import page
from etl.reports.html.pictures import Series, Slot, columns, nice_step
from etl.reports.options import Options
from etl.reports.sidecar import Standing
from etl.zones import from_us
from tests.support.facts import DAY, Given, call, given
from tests.support.stories import at
from tests.unit.test_report_figures import answer, entry, step

HOSTILE = "<script>alert('1')</script>"
VOID = {"meta"}


@dataclass
class Machine:
    """What a page asks of a machine, for facts without a database."""

    facts: Given
    limit: int | None = 40

    @property
    def settings(self) -> Any:
        return SimpleNamespace(
            nodes=[SimpleNamespace(max_concurrent=self.limit)], limits=SimpleNamespace(max_concurrent=None)
        )

    @property
    def connection(self) -> Any:
        return SimpleNamespace(execute=lambda *_: SimpleNamespace(scalar=lambda: self.limit))

    def wanted(self, report: Any, options: Options) -> Any:
        return self.facts.wanted(report.name)

    def sources(self, tenant: str) -> Any:
        return self.facts.sources()

    @contextmanager
    def workshop(self) -> Iterator[Any]:
        yield self.facts.duck

    def standing(self, tenant: str) -> Standing:
        return Standing(as_of=from_us(at("23:00")), late_events=3, runs=())


class Words(HTMLParser):
    """The text of a page by the tag it stands in, which must be closed, and all tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] != "style":
            self.words.append(" ".join(data.split()))


def drawn(facts: Given, **options: Any) -> Words:
    words = Words(page.drawn(Machine(facts), Options(first=facts.first, last=facts.last, **options)))  # type: ignore[arg-type]
    assert not words.open
    return words


@pytest.fixture
def facts(tmp_path):
    with given(tmp_path, zone="Europe/Warsaw", campaigns={1: "spring", 2: HOSTILE}) as made:
        yield made


def some_calls(facts: Given) -> None:
    facts.add(
        "call_fact", *(call(n, "10:30") for n in range(1, 5)), call(5, "10:40", "busy"), call(6, "12:00", campaign=2)
    )
    facts.add("step_fact", step(1, 1, "hello", HOSTILE, "10:31", "10:32"), step(1, 2, HOSTILE, None, "10:32", "10:33"))
    facts.add("answer_fact", answer(1, "people", 1, "10", last=True), answer(2, "people", 1, "9", last=True),
              answer(3, "people", 1, "10", last=True))  # fmt: skip
    facts.add("queue_fact", entry(1, "10:00", 5, "completed"), entry(2, "10:00", 30, "abandoned"))


def test_a_day_shows_its_figures(facts):
    some_calls(facts)
    words = drawn(facts).words
    for said in (
        "Calls and queues of 21 November 2026",
        "Saturday, 21 November 2026 · times in Europe/Warsaw · tenant acme", "6",
        "answered by a person, 83.3 % of the calls", "of 6 contacts reached, 83.3 %", "calls at once at most",
        "came into queues; 1 gave up, 50.0 %",
        "ceiling of the site 40", "11:00: answered 4", "11:00: not answered 1", "13:00: answered 1", "busy", "16.7 %",
        "3 of 3 calls that came to it answered, 100.0 %.", "of 2 waits in queues answered within 20 s",
        "Made of all events that came in before 2026-11-21 23:00:00 UTC; 3 events of the last run came late.",
    ):  # fmt: skip
        assert said in words, said
    place = words.index("Answers to people: spring")
    assert words[place + 1 : place + 7] == ["9", "1", "33.3 %", "10", "2", "66.7 %"], "numbers stand in their order"


def test_a_campaigns_words_are_never_markup_and_nothing_is_loaded(facts):
    some_calls(facts)
    found = drawn(facts)
    assert HOSTILE in found.words
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "a"})
    for _, attributes in found.tags:
        for name, value in attributes.items():
            assert name in ("xmlns", "http-equiv") or "http" not in (value or ""), (name, value)


def test_many_days_are_drawn_by_the_day(tmp_path):
    with given(tmp_path, first=date(2026, 11, 1), last=DAY, campaign=1) as facts:
        facts.add("call_fact", call(1, "+-3d 10:00"), call(2, "+-3d 23:30"), call(3, "10:00"))
        words = drawn(facts, campaign="spring").words
    assert {"Campaign spring", "Calls by day", "18 Nov: answered 2", "21 Nov: answered 1", "01 Nov"} <= set(words)


def test_a_day_without_calls_says_so(facts):
    assert "There were no calls, and nobody waited in a queue." in drawn(facts).words


def test_an_hour_that_the_clock_shows_twice_is_two(tmp_path):
    autumn = date(2026, 11, 1)
    with given(tmp_path, zone="America/New_York", first=autumn, last=autumn) as facts:
        facts.add("call_fact", call(1, "+-20d 05:10"), call(2, "+-20d 06:10"), call(3, "+-20d 06:20"))
        words = drawn(facts).words
    assert [said for said in words if said.startswith("01:00: answered")] == ["01:00: answered 1", "01:00: answered 2"]


def test_of_many_campaigns_the_largest_have_pictures_of_their_own(tmp_path):
    names = {number: f"c{number}" for number in range(1, 6)}
    with given(tmp_path, campaigns=names) as facts:
        for campaign in names:
            calls = [call(10 * campaign + n, "10:00", campaign=campaign) for n in range(campaign)]
            facts.add("call_fact", *calls)
            visit = step(10 * campaign, 1, "hello", None, "10:01", "10:02")
            facts.add("step_fact", {**visit, "campaign": campaign})
        words = drawn(facts).words
    assert [said for said in words if said.startswith("The way through the call:")] == [
        f"The way through the call: c{number}" for number in (5, 4, 3)
    ]
    place = words.index("By campaign")
    assert {f"c{number}" for number in names} <= set(words[place:])


def test_a_ceiling_far_above_the_calls_is_told_and_not_drawn(facts):
    facts.add("call_fact", call(1, "10:30"), call(2, "10:30"))
    machine = Machine(facts, limit=21)
    words = Words(page.drawn(machine, Options(first=facts.first, last=facts.last))).words  # type: ignore[arg-type]
    assert ("Far below the ceiling of the site: 21." in words, "ceiling of the site 21" in words) == (True, False)


@pytest.mark.parametrize(("most", "step_"), [(1, 1), (5, 1), (6, 2), (10, 2), (11, 5), (26, 10), (2700, 1000)])
def test_the_scale_has_at_most_six_lines(most, step_):
    assert nice_step(most) == step_
    assert -(-most // step_) <= 5


def test_columns_stand_on_each_other_below_the_ceiling():
    one, two = Series(name="a", colour="#111111"), Series(name="b", colour="#222222")
    picture = columns(
        "t", [Slot(label="x", values=(3, 1)), Slot(label="y", values=(0, 0))], (one, two), ceiling=(8, "c")
    )
    low, high = picture.rects
    assert high.y + high.height == pytest.approx(low.y)
    assert low.y + low.height == pytest.approx(picture.base)
    assert picture.ceiling is not None
    assert picture.ceiling[0] < high.y
    assert [says for _, says in picture.ticks] == ["0", "2", "4", "6", "8"]
