"""Three days of a campaign, squeezed: the database's clock runs ahead from moment to moment while real calls are made.

Retries, other numbers, caps, the least gap, people in another time zone, numbers put on the do-not-call list, a break,
a closed day, and a revision accepted while it runs. The judge is the carrier's record and a plain reading of the rules.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from dialer.lab.truth import TruthRow, read_truth
from dialer.lab.up import Lab, running
from dialer.storage.session import sync_engine
from dialplan.render import render_node
from tests.lab.caller import until
from tests.lab.conftest import no_channels

pytestmark = pytest.mark.lab

WARSAW, AZORES = "Europe/Warsaw", "Atlantic/Azores"
CAMPAIGN = """\
campaign: day
contacts: {{from: people.csv, person: id, numbers: [mobile, home], time_zone: zone}}
calling:
  window: {{mon-sun: "{window}"}}
  closed: [{closed}]
  caps: {{number: {{day: 2}}, person: {{day: 3}}}}
  gap: 20m
capacity: {{max_concurrent: 20, calls_per_second: 10, trunks: [carrier-a], caller_id: "+48221234567", ring: 5s,
  longest_call: 30s}}
retry:
  attempts: 4
  busy: {{after: [45m, 3h], times: 3, number: same}}
  no_answer: {{after: 30m, times: 3, number: others-first}}
flow:
  question: {{ask: "Press one.", keys: {{1: yes}}}}
  thanks: {{say: "Thank you.", complete: yes}}
"""
WINDOW, NARROWED = "09:00-13:00, 14:00-20:00", "09:00-13:00, 14:00-16:00"
SPANS = {
    WINDOW: ((time(9), time(13)), (time(14), time(20))),
    NARROWED: ((time(9), time(13)), (time(14), time(16))),
}
BUSY_WAITS = [timedelta(minutes=45), timedelta(hours=3)]
GAP, DAY_CAP, PERSON_CAP = timedelta(minutes=20), 2, 3
SLACK = timedelta(seconds=3)
"""From a claim to its INVITE."""
FAST_CLOCK = (
    "create schema fast",
    "create table fast.ahead (by interval not null)",
    "insert into fast.ahead values ('0')",
    "create function fast.clock_timestamp() returns timestamptz language sql volatile as "
    "'select pg_catalog.clock_timestamp() + (select by from fast.ahead)'",
    "create function fast.now() returns timestamptz language sql volatile as 'select fast.clock_timestamp()'",
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """People of one sort: what their telephones do, and how many INVITEs each number gets over the three days."""

    zone: str = WARSAW
    mobile: tuple[str, ...]
    """Behaviours of the first INVITEs; the last one goes on."""
    home: tuple[str, ...] = ()
    invites: tuple[int, int]


# The moments of the first day are 09:00, 10:30, 12:00, 15:30, 18:30; those of the third 10:00, 15:00.
KINDS: dict[str, Kind] = {
    "answers": Kind(mobile=("answers",), invites=(1, 0)),
    "busy once": Kind(mobile=("busy", "answers"), invites=(2, 0)),
    # Twice on the first day, where the cap of its number holds; then on the third.
    "busy thrice": Kind(mobile=("busy", "busy", "busy", "answers"), invites=(4, 0)),
    "other number": Kind(mobile=("rings_out",), home=("answers",), invites=(1, 1)),
    "elsewhere": Kind(zone=AZORES, mobile=("busy", "answers"), invites=(2, 0)),
    # On the list from 12:00 on: the first goes on at the other number, the second is called no more.
    "listed with another": Kind(mobile=("busy",), home=("answers",), invites=(2, 1)),
    "listed": Kind(mobile=("busy",), invites=(2, 0)),
    "listed before": Kind(mobile=("answers",), invites=(0, 0)),
}
EACH = 3
LISTED_AT_NOON = ("listed with another", "listed")


def numbers_of(kind: str, index: int) -> tuple[str, str]:
    """The mobile and the home number of a person."""
    place = list(KINDS).index(kind) * EACH + index
    return f"+48501{600_000 + place}", f"+48221{600_000 + place}"


@dataclass
class Day:
    """The running campaign, and the clock that it is led through the days by."""

    lab: Lab
    database: Engine
    folder: Path
    first: date
    jumps: list[tuple[datetime, timedelta]] = field(default_factory=list)
    """The real moment from which on the clock was so much ahead."""
    listed: dict[str, datetime] = field(default_factory=dict)
    """By the real clock: when each number had been put on the list."""
    revised_at: datetime | None = None

    def jump(self, days: int, clock: str) -> datetime:
        """The database's clock shows that time in Warsaw from now on."""
        moment = datetime.combine(self.first + timedelta(days=days), time.fromisoformat(clock), ZoneInfo(WARSAW))
        real = datetime.now(UTC)
        assert not self.jumps or moment > real + self.jumps[-1][1], "time goes forward"
        self.jumps.append((real, moment - real))
        with self.database.begin() as connection:
            connection.execute(text("update fast.ahead set by = :by"), {"by": moment - real})
        return moment

    def go_to(self, days: int, clock: str) -> None:
        """Jumps there; returns when nothing is left to be done at that time."""
        moment = self.jump(days, clock)
        until(lambda: self._is_quiet(moment + timedelta(seconds=2)), f"quiet at {moment}", 60)

    def _is_quiet(self, since: datetime) -> bool:
        with self.database.begin() as connection:
            calls = connection.execute(text("select count(*) from attempt where state <> 'ended'")).scalar_one()
            progress = connection.execute(text("select progress from campaign_node")).scalar_one_or_none()
        if calls or not progress:
            return False
        # The engine's clock has followed, and it looked who is due after that.
        nobody = not progress["due_now"] or progress["binding"] == "window_closed"
        return nobody and datetime.fromisoformat(progress["at"]) > since

    def open_contacts(self) -> list[tuple[object, ...]]:
        """Who is left, with the calls so far: for the message of a failure."""
        query = """select p.person_key, c.next_attempt_at, c.waits_for, c.attempts, c.dials,
          array(select concat_ws(' ', a.number, a.submitting_at, a.disposition) from attempt a
                where a.contact_id = c.id order by a.submitting_at)
          from contact c join person p on p.id = c.person_id where c.closed_as is null order by c.id"""
        with self.database.begin() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def shown_at(self, real: datetime) -> datetime:
        """What the database's clock showed at a real moment."""
        return real + [ahead for begin, ahead in self.jumps if begin <= real][-1]

    def dialer(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "cli", *words, "--settings", str(self.lab.settings_file)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def write(self, window: str) -> Path:
        """The campaign file with these hours."""
        closed = self.first + timedelta(days=1)
        path = self.folder / "campaign.yaml"
        path.write_text(CAMPAIGN.format(window=window, closed=closed), encoding="utf-8")
        return path


def write_people(folder: Path) -> Path:
    """The number base, and the carrier's table of what each number does."""
    people, table = ["id,mobile,home,zone"], ["number,nth_invite,behaviour,args"]
    behaviours = {"answers": ("answers_and_presses", "1")}
    for name, kind in KINDS.items():
        for index in range(EACH):
            mobile, home = numbers_of(name, index)
            people.append(f"{name} {index},{mobile},{home if kind.home else ''},{kind.zone}")
            for number, does in ((mobile, kind.mobile), (home, kind.home)):
                for nth, word in enumerate(does, 1):
                    behaviour, args = behaviours.get(word, (word, ""))
                    table.append(f"{number},{'*' if nth == len(does) else nth},{behaviour},{args}")
    (folder / "people.csv").write_text("\n".join(people) + "\n", encoding="utf-8")
    (folder / "numbers.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
    return folder / "numbers.csv"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Day, list[TruthRow]]]:
    """The whole of it, played once; the carrier's record of it."""
    folder = tmp_path_factory.mktemp("day")
    with running("day", render_node=render_node, numbers=write_people(folder), base=folder / "lab") as lab:
        database = sync_engine(lab.settings)
        played = Day(lab=lab, database=database, folder=folder, first=(datetime.now(UTC) + timedelta(days=1)).date())
        with database.begin() as connection:
            for statement in FAST_CLOCK:
                connection.execute(text(statement))
            name = connection.execute(text("select current_database()")).scalar_one()
            connection.execute(text(f'alter database "{name}" set search_path = fast, pg_catalog, public'))
        database.dispose()
        for index in range(EACH):
            played.dialer("dnc", "add", numbers_of("listed before", index)[0], "--why", "asked by letter")
        played.jump(0, "08:30")
        run = subprocess.Popen(
            [
                sys.executable, "-m", "cli", "run", str(played.write(WINDOW)), "--json",
                "--settings", str(lab.settings_file),
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            play(played)
            # Nobody is left, so it ends by itself.
            until(lambda: run.poll() is not None, "the end of the run", 60)
        except AssertionError as error:
            run.kill()
            error.add_note("\n".join(map(str, played.open_contacts())) + run.communicate()[1][-5000:])
            raise
        finally:
            run.kill()
            database.dispose()
        _, said = run.communicate()
        assert run.returncode == 0, said[-3000:]
        yield played, read_truth(lab)
        database.dispose()
        no_channels(lab)


def play(day: Day) -> None:
    until(lambda: _has_begun(day.database), "the engine dials the campaign", 60)
    day.go_to(0, "08:50")
    day.go_to(0, "09:00")
    day.go_to(0, "10:30")
    for kind in LISTED_AT_NOON:
        for index in range(EACH):
            number = numbers_of(kind, index)[0]
            day.dialer("dnc", "add", number, "--why", "asked by telephone")
            day.listed[number] = datetime.now(UTC)
    day.go_to(0, "12:00")
    day.go_to(0, "13:30")
    day.go_to(0, "15:30")
    day.dialer("apply", str(day.write(NARROWED)), "--note", "we close at four")
    day.revised_at = datetime.now(UTC)
    day.go_to(0, "18:30")
    day.go_to(1, "10:00")
    day.go_to(2, "10:00")
    day.jump(2, "15:00")


def _has_begun(database: Engine) -> bool:
    with database.begin() as connection:
        return bool(connection.execute(text("select progress from campaign_node")).scalar_one_or_none())


def test_every_number_was_called_as_often_as_the_rules_and_the_policy_say(day):
    _, truth = day
    called = Counter(row.number for row in truth)
    wrong = {}
    for name, kind in KINDS.items():
        for index in range(EACH):
            numbers = numbers_of(name, index)
            seen = tuple(called.pop(number, 0) for number in numbers)
            if seen != kind.invites:
                wrong[f"{name} {index}"] = (seen, kind.invites)
    assert not wrong
    assert not called, "nobody else was called"


def test_no_call_was_made_outside_the_hours(day):
    played, truth = day
    zones = {number: kind.zone for name, kind in KINDS.items() for i in range(EACH) for number in numbers_of(name, i)}
    wrong = []
    for row in truth:
        shown = played.shown_at(row.invited_at).astimezone(ZoneInfo(zones[row.number]))
        revised = played.revised_at is not None and row.invited_at > played.revised_at + SLACK
        spans = SPANS[NARROWED if revised else WINDOW]
        is_open = any(begin <= shown.time() < end for begin, end in spans)
        if not is_open or shown.date() == played.first + timedelta(days=1):
            wrong.append((row.number, str(shown)))
    assert not wrong


def test_caps_the_gap_and_the_waits_of_the_policy_hold(day):
    played, truth = day
    persons = {number: (name, i) for name in KINDS for i in range(EACH) for number in numbers_of(name, i)}
    calls: dict[object, list[tuple[datetime, datetime]]] = {}
    for row in truth:
        assert row.ended_at is not None
        span = (played.shown_at(row.invited_at), played.shown_at(row.ended_at))
        calls.setdefault(row.number, []).append(span)
        calls.setdefault(persons[row.number], []).append(span)
    for whose, spans in calls.items():
        cap = DAY_CAP if isinstance(whose, str) else PERSON_CAP
        for nth, (begun, _) in enumerate(spans):
            within = [one for one, _ in spans[: nth + 1] if one > begun - timedelta(days=1) + SLACK]
            assert len(within) <= cap, (whose, spans)
            if nth:
                assert begun - spans[nth - 1][1] >= GAP - SLACK, (whose, spans)
    for name in ("busy once", "busy thrice", "elsewhere"):
        for index in range(EACH):
            spans = calls[numbers_of(name, index)[0]]
            for nth, (before, after) in enumerate(pairwise(spans)):
                assert after[0] - before[1] >= BUSY_WAITS[min(nth, 1)] - SLACK, (name, spans)


def test_a_number_on_the_list_is_called_no_more(day):
    played, truth = day
    late = [(row.number, row.invited_at) for row in truth
            if row.number in played.listed and row.invited_at > played.listed[row.number] + SLACK]  # fmt: skip
    assert len(played.listed) == len(LISTED_AT_NOON) * EACH
    assert not late


def test_every_contact_says_why_it_is_done(day):
    played, _ = day
    with played.database.begin() as connection:
        rows = connection.execute(
            text("select p.person_key, c.closed_as from contact c join person p on p.id = c.person_id")
        ).all()
    reasons = {key.rsplit(" ", 1)[0]: reason for key, reason in rows}
    assert reasons == {
        "answers": "completed", "busy once": "completed", "busy thrice": "completed", "other number": "completed",
        "elsewhere": "completed", "listed with another": "completed", "listed": "dnc", "listed before": "dnc",
    }  # fmt: skip
    assert len(rows) == EACH * len(KINDS)
