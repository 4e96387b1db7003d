"""The campaign model and its JSON Schema say the same, and the example is one of their files."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from dialer.campaign.calling import Calling, Caps, Limits, Pack
from dialer.campaign.capacity import ByRegion, Capacity, Pool, TrunkUse
from dialer.campaign.load import load_campaign
from dialer.campaign.model import Campaign, Step, contradictions
from dialer.campaign.number_base import Contacts
from dialer.campaign.retry import RetryPolicy
from dialer.campaign.schema import schema, schema_text
from dialer.campaign.values import duration_text, parse_days, parse_duration, parse_slots
from dialer.settings import (
    AgiSettings,
    AmiSettings,
    CapLimits,
    CapSettings,
    LimitSettings,
    NodeSettings,
    Settings,
    TrunkSettings,
)

ROOT = Path(__file__).parents[2]
EXAMPLE, DOCS = ROOT / "examples" / "health-check", ROOT / "docs"


@pytest.fixture(scope="module")
def document() -> dict:
    return load_campaign(EXAMPLE / "campaign.yaml").document


def test_the_committed_schema_is_the_models():
    assert (EXAMPLE / "campaign.schema.json").read_text(encoding="utf-8") == schema_text(), (
        "run `dialer schema --output`"
    )


def test_the_example_names_its_schema_and_obeys_it(document):
    first = (EXAMPLE / "campaign.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=campaign.schema.json"
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(document, schema())


CAMPAIGN_PARTS = (Campaign, Contacts, Calling, Caps, Limits, Capacity, TrunkUse, Pool, ByRegion, RetryPolicy, Step)
SETTINGS_PARTS = (
    Settings, LimitSettings, CapSettings, CapLimits, AmiSettings, NodeSettings, TrunkSettings, AgiSettings,
)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "page"),
    [
        *((part, "campaign-file.md") for part in CAMPAIGN_PARTS),
        (Pack, "rules.md"),
        *((part, "settings.md") for part in SETTINGS_PARTS),
    ],
)
def test_every_key_is_explained(model, page):
    text = (DOCS / page).read_text(encoding="utf-8")
    names = [info.alias or name for name, info in model.model_fields.items()]
    assert [name for name in names if not re.search(rf"`([a-z]+\.)?{name}\b", text)] == []


def test_the_settings_of_the_page_are_settings():
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "settings.md").read_text(encoding="utf-8"), re.DOTALL)
    whole, tariff, hours = (YAML(typ="safe", pure=True).load(block) for block in blocks)
    settings = Settings.model_validate(whole | hours)
    trunk = settings.trunk("carrier-a")
    assert trunk is not None
    assert TrunkSettings.model_validate(trunk.model_dump(exclude_defaults=True) | tariff).tariff


FEVER = {"ask": {"en": "?", "pl": "?"}, "keys": {"1": "yes", "2": "no"}, "next": "people"}
A, B = "+48221234567", "+48225550100"
BOTH = [
    # place                              value                                         allowed
    (("title",),                         5,                                            False),
    (("colour",),                        "red",                                        False),
    (("capacity", "ring"),               "45s",                                        True),
    (("capacity", "ring"),               45,                                           False),
    (("capacity", "calls_per_second"),   0.5,                                          True),
    (("capacity", "calls_per_second"),   0,                                            False),
    (("capacity", "trunks"),             [],                                           False),
    (("capacity", "trunks"),             ["a", {"name": "b", "weight": 3}],            True),
    (("capacity", "trunks"),             [""],                                         False),
    (("capacity", "trunks"),             [{"name": "b", "priority": 0}],               False),
    (("capacity", "trunks"),             [{"weight": 3}],                              False),
    (("capacity", "trunks"),             [{"name": "b", "caller_id": {"pool": [A]}}],  True),
    (("capacity", "caller_id"),          {"pool": [A, B]},                             True),
    (("capacity", "caller_id"),          {"pool": []},                                 False),
    (("capacity", "caller_id"),          {"by_region": {"+48": A}, "otherwise": B},    True),
    (("capacity", "caller_id"),          {"by_region": {"48": A}, "otherwise": B},     False),
    (("capacity", "caller_id"),          {"by_region": {"+48": A}},                    False),
    (("capacity", "ramp_up"),            "5m",                                         True),
    (("capacity", "max_silent"),         "2.5%",                                       True),
    (("capacity", "max_silent"),         "101%",                                       False),
    (("capacity", "max_silent"),         0.05,                                         False),
    (("capacity", "share"),              0,                                            False),
    (("calling", "window"),              "sometimes",                                  False),
    (("calling", "window"),              {"mon-fri": "09:00-17:00"},                   True),
    (("calling", "holidays"),            "PL",                                         True),
    (("calling", "holidays"),            ["DE-BY", "callee"],                          True),
    (("calling", "holidays"),            "Poland",                                     False),
    (("calling", "closed"),              ["2026-12-24", "2026-12-31..2027-01-02"],     True),
    (("calling", "closed"),              ["24.12.2026"],                               False),
    (("calling", "open"),                {"2026-12-20": "10:00-14:00"},                True),
    (("calling", "open"),                {"sun": "10:00-14:00"},                       False),
    (("calling", "last_call"),           "15m",                                        True),
    (("calling", "last_call"),           "ends-inside",                                True),
    (("calling", "last_call"),           "late",                                       False),
    (("calling", "caps"),                {"number": {"day": 2}},                       True),
    (("calling", "caps"),                {"number": {"day": 0}},                       False),
    (("calling", "gap"),                 "4h",                                         True),
    (("calling", "gap"),                 4,                                            False),
    (("calling", "rules"),               [{"pack": "x", "holidays": "PL"}],            True),
    (("calling", "rules"),               [{"holidays": "PL"}],                         False),
    (("retry", "busy"),                  "stop",                                       True),
    (("retry", "busy"),                  "hold",                                       False),
    (("retry", "unknown"),               "hold",                                       True),
    (("retry", "busy"),                  {"times": 3},                                 False),
    (("retry", "busy"),                  {"after": ["5m", "1h"]},                      True),
    (("retry", "busy"),                  {"after": []},                                False),
    (("retry", "busy"),                  {"after": "5m", "at": "any-time"},            True),
    (("retry", "busy"),                  {"after": "5m", "at": "17:00"},               True),
    (("retry", "busy"),                  {"after": "5m", "at": ["17:00", "09:00"]},    True),
    (("retry", "busy"),                  {"after": "5m", "at": "5pm"},                 False),
    (("retry", "busy"),                  {"after": "5m", "at": []},                    False),
    (("retry", "busy"),                  {"after": "5m", "number": "others-first"},    True),
    (("retry", "busy"),                  {"after": "5m", "until": "completed"},        True),
    (("retry", "busy"),                  {"after": "5m", "until": "2026-12-24 20:00"}, True),
    (("retry", "busy"),                  {"after": "5m", "until": "tomorrow"},         False),
    (("retry", "completed"),             {"after": "7d"},                              True),
    (("retry", "waves"),                 ["09:00", "17:00"],                           True),
    (("retry", "waves"),                 "09:00",                                      False),
    (("retry", "answers"),               {"fever": {"yes": "stop"}},                   True),
    (("retry", "answers"),               {"fever": {"yes": {"after": "1h"}}},          True),
    (("retry", "answers"),               {"fever": {"yes": "hold"}},                   False),
    (("retry", "answers"),               {"fever": {}},                                False),
    (("flow", "stop"),                   {"opt_out": {"en": "Bye.", "pl": "Pa."}},     True),
    (("flow", "stop"),                   {"opt_out": "Bye.", "scope": "site"},         True),
    (("flow", "stop"),                   {"opt_out": "Bye.", "scope": "all"},          False),
    (("flow", "later"),                  {"callback": "Later.", "after": "2h"},        True),
    (("flow", "later"),                  {"callback": "When?", "day": "tomorrow"},     True),
    (("flow", "later"),                  {"callback": "When?", "day": "friday"},       False),
    (("flow", "done"),                   {"complete": True},                           True),
    (("flow", "fever"),                  FEVER,                                        True),
    (("flow", "fever"),                  FEVER | {"keys": {"1": 1, "#": 2}},           True),
    (("flow", "fever"),                  FEVER | {"keys": {"one": "yes"}},             False),
    (("flow", "fever"),                  FEVER | {"keys": {}},                         False),
    (("flow", "fever"),                  FEVER | {"ask": {"file": "x.wav"}},           True),
    (("flow", "fever"),                  FEVER | {"ask": {"en": {"file": "x.wav"}}},   True),
    (("flow", "fever"),                  FEVER | {"ask": {"file": "x.wav", "en": ""}}, False),
    (("flow", "fever"),                  FEVER | {"ask": {"English": "?"}},            False),
    (("flow", "fever"),                  FEVER | {"complete": "maybe"},                False),
    (("flow", "fever"),                  FEVER | {"complete": True},                   True),
    (("flow", "people", "digits"),       2,                                            True),
    (("flow", "people", "digits"),       "1-2",                                        True),
    (("flow", "people", "digits"),       "many",                                       False),
    (("flow", "Fever"),                  FEVER,                                        False),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value", "allowed"), BOTH)
def test_schema_and_model_agree(document, place, value, allowed):
    changed = json.loads(json.dumps(document))
    part = changed
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    assert jsonschema.Draft202012Validator(schema()).is_valid(changed) == allowed
    assert is_campaign(changed) == allowed


def is_campaign(document: dict) -> bool:
    try:
        Campaign.model_validate(document)
    except ValidationError:
        return False
    return True


STEPS = [
    # keys of a step                        what is wrong with them
    ("say", None),
    ("say next complete", None),
    ("ask keys timeout tries on_silence on_wrong otherwise next complete", None),
    ("ask digits range", None),
    ("menu keys", None),
    ("opt_out scope", None),
    ("callback day timeout tries on_silence on_wrong otherwise next", None),
    ("callback after next", None),
    ("complete", None),
    ("complete next", None),
    ("goto", None),
    ("hangup", None),
    ("", "does not say what to do"),
    ("keys", "does not say what to do"),
    ("say ask keys", "has say and ask"),
    ("say keys", "`keys` does not go with `say`"),
    ("goto next", "`next` does not go with `goto`"),
    ("hangup tries", "`tries` does not go with `hangup`"),
    ("say opt_out", "has say and opt_out"),
    ("opt_out next", "`next` does not go with `opt_out`"),
    ("opt_out complete", "`complete` does not go with `opt_out`"),
    ("callback complete", "`complete` does not go with `callback`"),
    ("callback keys", "`keys` does not go with `callback`"),
    ("callback after tries", "nothing is asked"),
    ("callback after day", "nothing is asked"),
    ("complete tries", "`tries` does not go with `complete`"),
    ("menu keys digits", "`digits` does not go with `menu`"),
    ("menu", "the menu has no keys"),
    ("ask", "does not say what may be pressed"),
    ("ask keys digits", "two kinds of question"),
    ("ask keys range", "`range` goes with `digits`"),
]


@pytest.mark.parametrize(("keys", "wrong"), STEPS)
def test_contradictions(keys, wrong):
    messages = " ".join(found.message for found in contradictions(keys.split()))
    assert messages == "" if wrong is None else wrong in messages


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("2 h", 7200), ("3d", 259200)])
def test_durations(text, seconds):
    assert parse_duration(text, 1, 10**6) == seconds


@pytest.mark.parametrize("value", ["5", "5 min", "-5s", "1.5h", "٥s", "", 5, None, "9999999s", "0s", "30d"])
def test_what_is_no_duration(value):
    with pytest.raises(ValueError, match=r"is not a duration|is out of bounds"):
        parse_duration(value, 1, 86400)


def test_durations_are_written_in_the_largest_exact_unit():
    assert [duration_text(seconds) for seconds in (0, 1, 60, 90, 3600, 86400, 90000)] == [
        "0s",
        "1s",
        "1m",
        "90s",
        "1h",
        "1d",
        "25h",
    ]


@pytest.mark.parametrize(
    ("text", "slots"),
    [("09:00-13:00", [(540, 780)]), ("14:00-24:00,00:00 - 02:00", [(0, 120), (840, 1440)])],
)
def test_slots(text, slots):
    assert parse_slots(text) == slots


@pytest.mark.parametrize(
    "text", ["", "9-5", "09:00", "13:00-09:00", "09:00-09:00", "22:00-24:30", "09:00-12:00,11:00-13:00"]
)
def test_what_is_no_slot(text):
    with pytest.raises(ValueError, match=r"time span|start before|overlap"):
        parse_slots(text)


@pytest.mark.parametrize(("text", "days"), [("mon", [0]), ("mon-wed", [0, 1, 2]), ("sat, sun", [5, 6])])
def test_days(text, days):
    assert parse_days(text) == days


@pytest.mark.parametrize("text", ["", "Mon", "monday", "fri-mon", "mon-", "mon,mon", "mon-fri,wed", "holidays"])
def test_what_is_no_day(text):
    with pytest.raises(ValueError, match=r"not a day|earlier day|twice"):
        parse_days(text)
