"""A campaign file and its rule packs come to the strictest of both, and a pack's file is refused where it is wrong."""

import json
import re
from datetime import date
from pathlib import Path
from textwrap import dedent

import pytest

from dialer.campaign import packs
from dialer.campaign.holidays import NOT_KNOWN, holiday, is_place
from dialer.campaign.load import LoadedCampaign, load_campaign
from dialer.campaign.model import Campaign
from dialer.campaign.running import Overrides, running
from dialer.campaign.values import parse_dates
from dialer.contacts.suppress import CapRules, Caps
from dialer.errors import InvalidInput
from tests.support.calling import campaign, rules

ROOT = Path(__file__).parents[2]
OFFICE = {"mon-fri": "09:00-17:00"}


def pack(**what: object) -> dict[str, object]:
    return {"pack": "house", **what}


def test_without_rules_nothing_is_limited():
    found = rules({"window": "any"})
    assert found.timetables == ()
    assert found.caps == CapRules(number=Caps(), person=Caps(), gap_s=0)
    assert (found.last_call_s, found.time_zone, found.deadline_at, found.max_silent) == (0, None, None, 0.05)


STRICTEST = [
    # the campaign                              a pack                                      what holds
    ({"caps": {"number": {"day": 3}}},          {},                                         "number day 3"),
    ({"caps": {"number": {"day": 3}}},          {"caps": {"number": {"day": 2}}},           "number day 2"),
    ({"caps": {"number": {"day": 1}}},          {"caps": {"number": {"day": 2}}},           "number day 1"),
    ({"caps": {"number": {"day": 1}}},          {"caps": {"number": {"month": 9}}},         "number day 1 month 9"),
    ({"caps": {"person": {"ever": 5}}},         {"caps": {"number": {"week": 4}}},   "number week 4 person ever 5"),
    ({"gap": "4h"},                             {"gap": "1d"},                              "gap 86400"),
    ({"gap": "4h"},                             {},                                         "gap 14400"),
    ({"last_call": "15m"},                      {"last_call": "5m"},                        "last 900"),
    ({"last_call": "1m"},                       {"last_call": "ends-inside"},               "last 272"),
    ({},                                        {"max_silent": "1%"},                       "silent 0.01"),
    ({},                                        {"max_silent": "50%"},                      ""),
]  # fmt: skip


@pytest.mark.parametrize(("calling", "of_pack", "expected"), STRICTEST)
def test_the_strictest_holds(calling, of_pack, expected):
    found = rules({"window": "any", **calling, "rules": [pack(**of_pack)]})
    words = []
    for subject, caps in (("number", found.caps.number), ("person", found.caps.person)):
        limits = [(name, getattr(caps, name)) for name in ("day", "week", "month", "ever")]
        if any(limit for _, limit in limits):
            words += [subject, *(f"{name} {limit}" for name, limit in limits if limit)]
    words += [f"gap {found.caps.gap_s}"] if found.caps.gap_s else []
    words += [f"last {found.last_call_s}"] if found.last_call_s else []
    words += [f"silent {found.max_silent}"] if found.max_silent != 0.05 else []
    assert " ".join(words) == expected


def test_a_running_campaign_pauses_by_the_strictest_share_of_silent_calls():
    file = campaign({"window": OFFICE, "rules": [pack(max_silent="2%")]}, max_silent="4%")
    assert running(file, 1, 1, Overrides()).capacity.max_silent == 0.02
    assert file.capacity.max_silent == 0.04


# -- packs ----------------------------------------------------------------------------------------------------------

FILE = dedent(
    """\
    campaign: health-check
    contacts: {{from: people.csv, numbers: [mobile]}}
    calling: {{window: {{mon-fri: "09:00-17:00"}}, rules: {rules}}}
    capacity: {{max_concurrent: 1, calls_per_second: 1, trunks: [carrier-a], caller_id: "+48221234567"}}
    flow: {{hello: {{say: Hello.}}}}
    """
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "people.csv").write_text("mobile\n", encoding="utf-8")
    return tmp_path


def load(folder: Path, named: str, content: str | None = None) -> LoadedCampaign:
    path = folder / "campaign.yaml"
    path.write_text(FILE.format(rules=named), encoding="utf-8")
    if content is not None:
        (folder / "ours.yaml").write_text(content, encoding="utf-8")
    return load_campaign(path)


def test_everything_that_is_wrong_with_the_rules_is_told_at_once(folder):
    (folder / "campaign.yaml").write_text(
        FILE.format(rules="[ours.yaml], deadline: 5pm, time_zone: Mars, gap: 3").replace("09:00-17:00", "9-5"),
        encoding="utf-8",
    )
    (folder / "ours.yaml").write_text("pack: ours\nwindow: {mon: 9-5}\nmax_silent: 3\n", encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        load_campaign(folder / "campaign.yaml")
    assert sorted(problem.key for problem in caught.value.problems) == [
        "calling.deadline", "calling.gap", "calling.time_zone", "calling.window.mon-fri", "max_silent", "window.mon",
    ]  # fmt: skip


@pytest.mark.parametrize("name", list(packs.shipped()))
def test_every_shipped_pack_is_whole_and_explained(folder, name):
    loaded = load(folder, f"[{name}]")
    (found,) = loaded.campaign.calling.rules
    assert (found.pack, bool(found.title), bool(found.sources)) == (name, True, True)
    assert "Not legal advice" in packs.shipped()[name].read_text(encoding="utf-8")
    page = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"(?m)^\| `{name}` \|.*$", page)
    said = [f"{days} {slots}" for days, slots in (found.window or {}).items()] + list(found.holidays)
    said += [f"{window} {limit}" for window, limit in found.caps.number.model_dump(exclude_none=True).items()]
    assert [words for words in said if words not in row] == []


@pytest.mark.parametrize("day", ["2026-04-06", "2026-08-31", "2027-01-04", "2027-03-17"])
def test_the_pack_of_the_united_kingdom_keeps_the_holidays_of_all_its_nations(folder, day):
    """Easter Monday and the summer's bank holiday in England, 2 January in Scotland, Saint Patrick's in Ireland."""
    (found,) = load(folder, "[uk-ofcom]").campaign.calling.rules
    assert any(holiday(place, date.fromisoformat(day)) for place in found.holidays)


def test_what_the_issue_names_is_shipped():
    assert set(packs.shipped()) == {"pl", "uk-ofcom", "us-tcpa"}


def test_a_revision_keeps_the_rules_that_it_was_accepted_with(folder):
    first = load(folder, "[ours.yaml]", "pack: ours\nholidays: PL\n")
    second = load(folder, "[ours.yaml]", "pack: ours\nholidays: DE\n")
    assert first.sha256 == second.sha256
    assert first.document != second.document
    again = Campaign.model_validate(json.loads(json.dumps(first.document)))
    assert again == first.campaign
    assert again.calling.rules[0].holidays == ("PL",)


def test_packs_by_name_by_file_and_in_place(folder):
    loaded = load(folder, '[pl, ./ours.yaml, {pack: here, window: {mon: "10:00-11:00"}}]', "pack: ours\ngap: 4h\n")
    assert [found.pack for found in loaded.campaign.calling.rules] == ["pl", "ours", "here"]


WRONG_PACKS = [
    # rules                  ours.yaml                            file           line  key               code
    ("[ours.yaml]", None, "ours.yaml", None, "", "no-such-file"),
    ("[ours.yaml]", "", "ours.yaml", None, "", "empty"),
    ("[ours.yaml]", "pack: ours\nwindow: [", "ours.yaml", 2, "", "not-yaml"),
    ("[ours.yaml]", "pack: ours\nwindow: {mon: 9-5}", "ours.yaml", 2, "window.mon", "wrong-window"),
    ("[ours.yaml]", "pack: ours\nholiday: PL", "ours.yaml", 2, "holiday", "unknown-key"),
    ("[ours.yaml]", "holidays: PL", "ours.yaml", 1, "pack", "missing-key"),
    ("[ours.yaml]", "pack: ours\ngap: 5", "ours.yaml", 2, "gap", "wrong-form"),
    ("[ours.yaml]", "pack: ours\npack: ours", "ours.yaml", 2, "pack", "duplicate-key"),
    ("[us]", None, "campaign.yaml", 3, "calling.rules[0]", "unknown-pack"),
    ("[../secret]", None, "secret", None, "", "no-such-file"),
]  # fmt: skip


@pytest.mark.parametrize(("named", "content", "file", "line", "key", "code"), WRONG_PACKS)
def test_a_wrong_pack_is_refused_where_it_is_wrong(folder, named, content, file, line, key, code):
    with pytest.raises(InvalidInput) as caught:
        load(folder, named, content)
    (found,) = caught.value.problems
    assert (Path(found.file).name, found.line, found.key, found.code) == (file, line, key, code)
    assert found.fix


def test_an_unknown_key_of_a_pack_gets_the_keys_of_packs_as_advice(folder):
    with pytest.raises(InvalidInput) as caught:
        load(folder, "[ours.yaml]", "pack: ours\nholyday: PL\n")
    (found,) = caught.value.problems
    assert found.fix == "did you mean `holidays`?"


def test_the_pack_of_the_page_is_one(folder):
    page = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(# our-rules.yaml\n.*?)```", page, re.DOTALL)
    (found,) = load(folder, "[ours.yaml]", block).campaign.calling.rules
    assert found.pack == "our-rules"


# -- holidays -------------------------------------------------------------------------------------------------------

PLACES = [
    ("PL", True), ("PL-14", True), ("DE", True), ("DE-BY", True), ("US-CA", True), ("GB", True), ("GB-SCT", True),
    ("XX", False), ("DE-XX", False), ("pl", False), ("Poland", False), ("", False), ("PL-", False), ("__", False),
]  # fmt: skip


@pytest.mark.parametrize(("code", "known"), PLACES)
def test_places(code, known):
    assert is_place(code) == known


HOLIDAYS = [
    ("PL", "2026-11-11", "National Independence Day"),
    ("PL-14", "2026-11-11", "National Independence Day"),
    ("PL", "2026-11-12", None),
    ("DE-BY", "2026-01-06", "Epiphany"),
    ("DE-BE", "2026-01-06", None),
    ("DE", "2026-01-06", None),
    ("US", "2026-07-03", "Independence Day (observed)"),
    ("XX", "2026-11-12", NOT_KNOWN),
    ("DE-XX", "2026-11-12", NOT_KNOWN),
    ("", "2026-11-12", NOT_KNOWN),
    ("PL", "9026-11-12", NOT_KNOWN),
]


@pytest.mark.parametrize(("place", "day", "expected"), HOLIDAYS)
def test_holidays_and_what_is_not_known_of_them(place, day, expected):
    assert holiday(place, parse_dates(day)[0]) == expected
