"""A campaign file is accepted whole, or refused with every problem located."""

import json
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialer.campaign.load import check_against, load_campaign
from dialer.campaign.model import Campaign
from dialer.errors import InvalidInput
from dialer.settings import Settings

GOOD = dedent(
    """\
    campaign: health-check
    contacts: {from: people.csv, numbers: [mobile, home], fields: [first_name]}
    calling: {window: {mon-fri: "09:00-13:00, 14:00-20:00"}}
    capacity: {max_concurrent: 10, calls_per_second: 5, trunks: [carrier-a], caller_id: "+48221234567", ring: 20s}
    retry: {busy: {after: 5m, times: 3}, refused: stop, unknown: hold}
    languages: [en, pl]
    flow:
      zebra: {say: {en: "Good morning {first_name}.", pl: "Dzień dobry."}}
      fever: {ask: {en: "Fever?", pl: "Gorączka?"}, keys: {1: yes, 2: no}, next: {yes: zebra, no: bye}}
      bye: {say: {en: "Bye.", pl: "Pa."}, complete: yes}
    """
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "people.csv").write_text("mobile\n", encoding="utf-8")
    return tmp_path


def load(folder: Path, content: str | bytes):
    path = folder / "campaign.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_campaign(path)


def problems(folder: Path, content: str | bytes) -> list[tuple[int | None, str, str]]:
    """Line, key and code of everything that is refused."""
    with pytest.raises(InvalidInput) as caught:
        load(folder, content)
    assert all(problem.fix and problem.message for problem in caught.value.problems)
    return [(problem.line, problem.key, problem.code) for problem in caught.value.problems]


def test_a_good_file_keeps_its_order_and_survives_json(folder):
    loaded = load(folder, GOOD)
    assert list(loaded.campaign.flow) == ["zebra", "fever", "bye"]
    assert loaded.campaign.capacity.ring == 20
    assert loaded.campaign.flow["fever"].keys == {"1": "yes", "2": "no"}
    again = Campaign.model_validate(json.loads(json.dumps(loaded.document)))
    assert again == loaded.campaign
    assert list(again.flow) == list(loaded.campaign.flow)


def test_a_byte_order_mark_is_no_problem(folder):
    assert load(folder, b"\xef\xbb\xbf" + GOOD.encode()).campaign.campaign == "health-check"


WRONG_LINES = [
    # what is written instead of         what stands there           line  key  code
    ("campaign: health-check", "campaign: Health Check", 1, "campaign", "wrong-form"),
    ("campaign: health-check", "campaign: 5", 1, "campaign", "wrong-type"),
    ("campaign: health-check", "campaign:", 1, "campaign", "no-value"),
    ("campaign: health-check", "campain: health-check\ncampaign: x", 1, "campain", "unknown-key"),
    ("campaign: health-check", "campaign: a\ncampaign: b", 2, "campaign", "duplicate-key"),
    ("campaign: health-check", 'campaign: x\ntitle: "a\\0b"', 2, "title", "bad-character"),
    ("campaign: health-check", 'campaign: x\ntitle: "\\ud800"', 2, "title", "bad-character"),
    ("from: people.csv", "from: nobody.csv", 2, "contacts.from", "no-such-file"),
    ("from: people.csv", 'from: "base/*.csv"', 2, "contacts.from", "no-such-file"),
    ("from: people.csv", 'from: "b*/people.csv"', 2, "contacts.from", "wrong-form"),
    ("from: people.csv", "from: base/", 2, "contacts.from", "no-such-file"),
    ("numbers: [mobile, home]", "numbers: [mobile], types: [cell]", 2, "contacts.types[0]", "wrong-value"),
    ("numbers: [mobile, home]", "numbers: [mobile], countries: [ZZ]", 2, "contacts.countries[0]", "wrong-value"),
    ("numbers: [mobile, home]", "numbers: [mobile], priority: 10", 2, "contacts.priority", "out-of-range"),
    ("numbers: [mobile, home]", "numbers: [mobile], defaults: {x: y}", 2, "contacts.defaults.x", "wrong-value"),
    ("numbers: [mobile, home]", 'numbers: [mobile], consent: {x: ""}', 2, "contacts.consent.x", "wrong-value"),
    ("numbers: [mobile, home]", "numbers: [mobile], constants: {first_name: x}", 2, "contacts.constants.first_name",
     "named-twice"),
    ("numbers: [mobile, home]", "numbers: [mobile], not_called_within: 7", 2, "contacts.not_called_within",
     "wrong-form"),
    ("numbers: [mobile, home]", "numbers: [mobile], withdraw_at_most: half", 2, "contacts.withdraw_at_most",
     "wrong-form"),
    ("from: people.csv", "from: [a.csv, b.csv]", 2, "contacts.from", "not-built-yet"),
    ("numbers: [mobile, home]", "numbers: [mobile], region: ZZ", 2, "contacts.region", "wrong-value"),
    ("numbers: [mobile, home]", "numbers: [mobile], region: Poland", 2, "contacts.region", "wrong-form"),
    ("numbers: [mobile, home]", "numbers: mobile", 2, "contacts.numbers", "wrong-type"),
    ("numbers: [mobile, home]", "numbers: []", 2, "contacts.numbers", "empty"),
    ("numbers: [mobile, home]", "numbers: [mobile, mobile]", 2, "contacts.numbers", "named-twice"),
    ("window: {mon-fri:", "window: {mon-fry:", 3, "calling.window.mon-fry", "wrong-window"),
    ("09:00-13:00, 14:00-20:00", "9-5", 3, "calling.window.mon-fri", "wrong-window"),
    ("09:00-13:00, 14:00-20:00", "09:00-13:00, 12:00-20:00", 3, "calling.window.mon-fri", "wrong-window"),
    ("09:00-13:00, 14:00-20:00", "20:00-09:00", 3, "calling.window.mon-fri", "wrong-window"),
    ('{mon-fri: "09:00-13:00, 14:00-20:00"}', "sometimes", 3, "calling.window", "wrong-value"),
    ('{mon-fri: "09:00-13:00, 14:00-20:00"}', "{}", 3, "calling.window", "wrong-window"),
    ("calling: {window", "calling: {holidays: XX, window", 3, "calling.holidays[0]", "unknown-place"),
    ("calling: {window", "calling: {holidays: [PL, DE-XX], window", 3, "calling.holidays[1]", "unknown-place"),
    ("calling: {window", "calling: {holidays: callee, window", 3, "calling.holidays", "contradiction"),
    ("calling: {window", "calling: {holidays: 5, window", 3, "calling.holidays", "wrong-type"),
    ("calling: {window", "calling: {closed: [2026-02-29], window", 3, "calling.closed[0]", "wrong-form"),
    ("calling: {window", "calling: {closed: [24.12.2026], window", 3, "calling.closed[0]", "wrong-form"),
    ("calling: {window", "calling: {closed: [2026-12-31..2026-12-30], window", 3, "calling.closed[0]", "wrong-form"),
    ("calling: {window", "calling: {closed: 2026-12-24, window", 3, "calling.closed", "wrong-type"),
    ("calling: {window", 'calling: {open: {2026-12-20: "9-5"}, window', 3, "calling.open.2026-12-20", "wrong-form"),
    ("calling: {window", 'calling: {open: {Sunday: "09:00-10:00"}, window', 3, "calling.open.Sunday", "wrong-form"),
    ("calling: {window", 'calling: {closed: [2026-12-19..2026-12-21], open: {2026-12-20: "09:00-10:00"}, window',
     3, "calling.open.2026-12-20", "named-twice"),
    ("calling: {window", "calling: {last_call: 15, window", 3, "calling.last_call", "wrong-form"),
    ("calling: {window", "calling: {last_call: 5h, window", 3, "calling.last_call", "out-of-range"),
    ("calling: {window", "calling: {gap: 91d, window", 3, "calling.gap", "out-of-range"),
    ("calling: {window", "calling: {caps: {number: {day: 0}}, window", 3, "calling.caps.number.day", "out-of-range"),
    ("calling: {window", "calling: {caps: {number: 2}, window", 3, "calling.caps.number", "wrong-type"),
    ("calling: {window", "calling: {caps: {number: {dya: 2}}, window", 3, "calling.caps.number.dya", "unknown-key"),
    ("calling: {window", "calling: {time_zone: Mars/Olympus, window", 3, "calling.time_zone", "unknown-time-zone"),
    ("calling: {window", "calling: {deadline: 2026-12-24 20:00, window", 3, "calling.deadline", "missing-key"),
    ("calling: {window", "calling: {time_zone: Europe/Warsaw, deadline: 2026-12-24, window",
     3, "calling.deadline", "wrong-form"),
    ("calling: {window", "calling: {rules: [poland], window", 3, "calling.rules[0]", "unknown-pack"),
    ("calling: {window", "calling: {rules: pl, window", 3, "calling.rules", "wrong-type"),
    ("calling: {window", "calling: {rules: [{window: {mon: 9-5}}], window", 3, "calling.rules[0].pack", "missing-key"),
    ("calling: {window", "calling: {rules: [{pack: x, window: {mon: 9-5}}], window",
     3, "calling.rules[0].window.mon", "wrong-window"),
    ("max_concurrent: 10", "max_concurrent: 0", 4, "capacity.max_concurrent", "out-of-range"),
    ("max_concurrent: 10", "max_concurrent: true", 4, "capacity.max_concurrent", "wrong-type"),
    ("calls_per_second: 5", "calls_per_second: .nan", 4, "capacity.calls_per_second", "wrong-type"),
    ("calls_per_second: 5", 'calls_per_second: "5"', 4, "capacity.calls_per_second", "wrong-type"),
    ("trunks: [carrier-a]", "trunks: [carrier-a, {name: carrier-a}]", 4, "capacity.trunks[1]", "named-twice"),
    ('"+48221234567"', "+48221234567", 4, "capacity.caller_id", "wrong-type"),
    ('"+48221234567"', '"22 123"', 4, "capacity.caller_id", "wrong-form"),
    ('"+48221234567"', '"+4800000000"', 4, "capacity.caller_id", "invalid-number"),
    ("trunks: [carrier-a]", "trunks: carrier-a", 4, "capacity.trunks", "wrong-type"),
    ("trunks: [carrier-a]", "trunks: []", 4, "capacity.trunks", "empty"),
    ("trunks: [carrier-a]", "trunks: [5]", 4, "capacity.trunks[0]", "wrong-type"),
    ("trunks: [carrier-a]", 'trunks: [""]', 4, "capacity.trunks[0].name", "empty"),
    ("trunks: [carrier-a]", "trunks: [{weight: 2}]", 4, "capacity.trunks[0].name", "missing-key"),
    ("trunks: [carrier-a]", "trunks: [{name: a, wait: 2}]", 4, "capacity.trunks[0].wait", "unknown-key"),
    ("trunks: [carrier-a]", "trunks: [a, {name: b, weight: 0}]", 4, "capacity.trunks[1].weight", "out-of-range"),
    ("trunks: [carrier-a]", "trunks: [{name: b, priority: 10}]", 4, "capacity.trunks[0].priority", "out-of-range"),
    ("trunks: [carrier-a]", "trunks: [{name: b, caller_id: 5}]", 4, "capacity.trunks[0].caller_id", "wrong-type"),
    ("trunks: [carrier-a]", 'trunks: [{name: b, caller_id: "+4800000000"}]',
     4, "capacity.trunks[0].caller_id", "invalid-number"),
    ('"+48221234567"', "{}", 4, "capacity.caller_id.by_region", "missing-key"),
    ('"+48221234567"', "{pol: 5}", 4, "capacity.caller_id.pol", "unknown-key"),
    ('"+48221234567"', "{pool: []}", 4, "capacity.caller_id.pool", "empty"),
    ('"+48221234567"', '{pool: ["+48221234567", "22 123"]}', 4, "capacity.caller_id.pool[1]", "wrong-form"),
    ('"+48221234567"', '{pool: ["+48221234567", "+48221234567"]}',
     4, "capacity.caller_id.pool[1]", "named-twice"),
    ('"+48221234567"', '{pool: ["+48221234567"], otherwise: "+48221234567"}',
     4, "capacity.caller_id.otherwise", "unknown-key"),
    ('"+48221234567"', '{by_region: {"+48": "+48221234567"}}', 4, "capacity.caller_id.otherwise", "missing-key"),
    ('"+48221234567"', '{by_region: {}, otherwise: "+48221234567"}', 4, "capacity.caller_id.by_region", "empty"),
    ('"+48221234567"', '{by_region: {"48": "+48221234567"}, otherwise: "+48221234567"}',
     4, "capacity.caller_id.by_region.48", "wrong-form"),
    ('"+48221234567"', '{by_region: {"+48": "+4800000000"}, otherwise: "+48221234567"}',
     4, "capacity.caller_id.by_region.+48", "invalid-number"),
    ("ring: 20s", "ramp_up: fast", 4, "capacity.ramp_up", "wrong-form"),
    ("ring: 20s", "ramp_up: 2h", 4, "capacity.ramp_up", "out-of-range"),
    ("ring: 20s", "priority: 0", 4, "capacity.priority", "out-of-range"),
    ("ring: 20s", "share: 101", 4, "capacity.share", "out-of-range"),
    ("ring: 20s", "max_silent: 3", 4, "capacity.max_silent", "wrong-form"),
    ("ring: 20s", "max_silent: 101%", 4, "capacity.max_silent", "wrong-form"),
    ("ring: 20s", "ring: 20", 4, "capacity.ring", "wrong-form"),
    ("ring: 20s", "ring: 3d", 4, "capacity.ring", "out-of-range"),
    ("busy: {after: 5m, times: 3}", "busy: maybe", 5, "retry.busy", "wrong-value"),
    ("busy: {after: 5m, times: 3}", "busy: {times: 3}", 5, "retry.busy.after", "missing-key"),
    ("busy: {after: 5m, times: 3}", "busy: {after: []}", 5, "retry.busy.after", "empty"),
    ("busy: {after: 5m, times: 3}", "busy: {after: [5m, 5]}", 5, "retry.busy.after[1]", "wrong-form"),
    ("busy: {after: 5m, times: 3}", "busy: {after: 5m, at: noon}", 5, "retry.busy.at", "wrong-value"),
    ("busy: {after: 5m, times: 3}", 'busy: {after: 5m, at: "9:00"}', 5, "retry.busy.at", "wrong-form"),
    ("busy: {after: 5m, times: 3}", 'busy: {after: 5m, at: ["09:00", "24:00"]}', 5, "retry.busy.at[1]", "wrong-form"),
    ("busy: {after: 5m, times: 3}", "busy: {after: 5m, number: last}", 5, "retry.busy.number", "wrong-value"),
    ("busy: {after: 5m, times: 3}", "busy: {after: 5m, until: 2d}", 5, "retry.busy.until", "wrong-form"),
    ("busy: {after: 5m, times: 3}", "busy: {after: 5m, until: 2026-02-30 20:00}", 5, "retry.busy.until", "wrong-form"),
    ("busy: {after: 5m, times: 3}", "busy: {after: 5m, times: 3, until: completed}",
     5, "retry.busy.times", "contradiction"),
    ("retry: {busy", "retry: {waves: [], busy", 5, "retry.waves", "empty"),
    ("retry: {busy", 'retry: {waves: ["17:60"], busy', 5, "retry.waves[0]", "wrong-form"),
    ("retry: {busy", "retry: {answers: {fewer: {yes: stop}}, busy", 5, "retry.answers.fewer", "unknown-question"),
    ("retry: {busy", "retry: {answers: {zebra: {yes: stop}}, busy", 5, "retry.answers.zebra", "unknown-question"),
    ("retry: {busy", "retry: {answers: {fever: {maybe: stop}}, busy",
     5, "retry.answers.fever.maybe", "impossible-answer"),
    ("retry: {busy", "retry: {answers: {fever: {yes: hold}}, busy", 5, "retry.answers.fever.yes", "wrong-value"),
    ("retry: {busy", "retry: {answers: {fever: {yes: {aftr: 1h}}}, busy",
     5, "retry.answers.fever.yes.aftr", "unknown-key"),
    ("retry: {busy", "retry: {machine: {after: 4h}, busy", 5, "retry.machine", "not-built-yet"),
    ("retry: {busy", "retry: {per_day: 2, busy", 5, "retry.per_day", "not-built-yet"),
    ("languages: [en, pl]", "languages: [en, pl]\nfollow_ups: []", 7, "follow_ups", "not-built-yet"),
    ("languages: [en, pl]", "languages: [en, Polish]", 6, "languages[1]", "wrong-form"),
    ('{en: "Bye.", pl: "Pa."}', "{en: 5, pl: x}", 10, "flow.bye.say.en", "wrong-type"),
    ('{en: "Bye.", pl: "Pa."}', "{file: nothing.wav}", 10, "flow.bye.say.file", "no-such-file"),
    ('{en: "Bye.", pl: "Pa."}', "{file: x.wav, loud: yes}", 10, "flow.bye.say.loud", "unknown-key"),
    ("complete: yes", "complete: perhaps", 10, "flow.bye.complete", "wrong-type"),
    ("complete: yes", "goto: zebra", 10, "flow.bye", "contradiction"),
    ('say: {en: "Bye.", pl: "Pa."}, complete: yes', "opt_out: yes", 10, "flow.bye.opt_out", "wrong-value"),
    ('say: {en: "Bye.", pl: "Pa."}, complete: yes', "callback: no", 10, "flow.bye.callback", "wrong-value"),
    ('say: {en: "Bye.", pl: "Pa."}, complete: yes', "complete: no", 10, "flow.bye.complete", "wrong-value"),
    ('say: {en: "Bye.", pl: "Pa."}, complete: yes', "opt_out: {en: Bye}", 10, "flow.bye.opt_out", "missing-language"),
    ("say: {en", "scope: everybody, opt_out: {en", 8, "flow.zebra.scope", "wrong-value"),
    ("say: {en", "after: 30s, callback: {en", 8, "flow.zebra.after", "out-of-range"),
    ("say: {en", "day: friday, callback: {en", 8, "flow.zebra.day", "wrong-value"),
    ("complete: yes", "tries: 3", 10, "flow.bye.tries", "contradiction"),
    ("complete: yes", "confirm: yes", 10, "flow.bye.confirm", "not-built-yet"),
    ("keys: {1: yes, 2: no}", "keys: {9: {transfer: nurses}}", 9, "flow.fever.keys.9", "not-built-yet"),
    ("keys: {1: yes, 2: no}", 'keys: {1: yes, "1": no}', 9, "flow.fever.keys.1", "duplicate-key"),
    ("keys: {1: yes, 2: no}", "keys: {x: yes, 2: no}", 9, "flow.fever.keys.x", "wrong-form"),
    ("keys: {1: yes, 2: no}", "keys: {1: yes, 2: no}, digits: 1", 9, "flow.fever", "contradiction"),
    ("no: bye}", "no: nowhere}", 9, "flow.fever.next.no", "unknown-step"),
    ('  bye: {say: {en: "Bye.", pl: "Pa."}, complete: yes}', "  bye: [1]", 10, "flow.bye", "wrong-type"),
]  # fmt: skip


@pytest.mark.parametrize(("there", "instead", "line", "key", "code"), WRONG_LINES)
def test_a_wrong_line_is_located_and_named(folder, there, instead, line, key, code):
    assert there in GOOD
    found = problems(folder, GOOD.replace(there, instead, 1))
    assert (line, key, code) in found


def test_a_wrong_trunk_is_told_once(folder):
    assert problems(folder, GOOD.replace("[carrier-a]", "[{name: a, weight: 0}]")) == [
        (4, "capacity.trunks[0].weight", "out-of-range")
    ]


def test_what_a_short_form_leaves_out_is_filled_in(folder):
    short = load(folder, GOOD).campaign.capacity
    assert [(use.name, use.weight, use.priority, use.caller_id) for use in short.trunks] == [("carrier-a", 1, 1, None)]
    assert (short.ramp_up, short.priority, short.share, short.max_silent) == (0, 5, 1, 0.05)
    long = "trunks: [carrier-b, {name: carrier-a, weight: 3, priority: 2, caller_id: {pool: ["
    long = GOOD.replace("trunks: [carrier-a]", f'{long}"+48225550100"]}}}}], ramp_up: 5m, max_silent: 2.5%')
    loaded = load(folder, long)
    other = loaded.campaign.capacity
    assert [(use.name, use.weight, use.priority) for use in other.trunks] == [("carrier-b", 1, 1), ("carrier-a", 3, 2)]
    assert (other.ramp_up, other.max_silent) == (300, 0.025)
    assert Campaign.model_validate(json.loads(json.dumps(loaded.document))) == loaded.campaign


def test_a_document_of_the_first_release_is_still_a_campaign(folder):
    document = load(folder, GOOD).document
    document["capacity"] = {
        "max_concurrent": 10, "calls_per_second": 5, "trunks": ["carrier-a"], "caller_id": "+48221234567",
    }  # fmt: skip
    assert Campaign.model_validate(document).capacity.trunks[0].name == "carrier-a"


MACHINE = Settings.model_validate(
    {
        "database": "postgresql:///dialer",
        "mac_key_file": "key",
        "caller_ids": ["+48221234000-+48221234999", "+48225550100"],
        "nodes": [{"name": "n", "ami": {"secret_file": "ami"}, "longest_call_s": 240}],
        "trunks": [
            {"name": "carrier-a", "node": "n", "host": "127.0.0.1"},
            {"name": "carrier-b", "node": "n", "host": "127.0.0.1", "caller_ids": ["+48225550100"]},
        ],
    }
)
NUMBER, OTHER = '"+48221234567"', '"+48225550100"'
AGAINST = [
    # what is written instead of      what stands there                          key, code
    ("trunks: [carrier-a]",           "trunks: [carrier-a]",                     []),
    ("trunks: [carrier-a]",           "trunks: [carier-a]",                      [("trunks[0]", "unknown-trunk")]),
    ("trunks: [carrier-a]",           "trunks: [carrier-a, {name: b}]",          [("trunks[1]", "unknown-trunk")]),
    ("ring: 20s",                     "longest_call: 5m",          [("longest_call", "longer-than-the-node-allows")]),
    (NUMBER,                          '"+48226210001"',                          [("caller_id", "not-owned")]),
    (NUMBER,                          f'{{pool: [{NUMBER}, "+48226210001"]}}',   [("caller_id.pool[1]", "not-owned")]),
    (NUMBER,                          f'{{by_region: {{"+48": "+48226210001"}}, otherwise: {NUMBER}}}',
                                                                       [("caller_id.by_region.+48", "not-owned")]),
    (NUMBER,                          f'{{by_region: {{"+48": {NUMBER}}}, otherwise: "+48226210001"}}',
                                                                       [("caller_id.otherwise", "not-owned")]),
    # carrier-b may show one number alone
    ("trunks: [carrier-a]",           "trunks: [carrier-b]",                     [("caller_id", "not-owned")]),
    ("trunks: [carrier-a]",           f"trunks: [{{name: carrier-b, caller_id: {OTHER}}}]", []),
    ("trunks: [carrier-a]",           f"trunks: [carrier-a, {{name: carrier-b, caller_id: {NUMBER}}}]",
                                                                       [("trunks[1].caller_id", "not-owned")]),
]  # fmt: skip


@pytest.mark.parametrize(("there", "instead", "found"), AGAINST)
def test_a_campaign_must_fit_the_machine(folder, there, instead, found):
    loaded = load(folder, GOOD.replace(there, instead, 1))
    told = check_against(loaded, MACHINE)
    assert [(problem.key, problem.code) for problem in told] == [(f"capacity.{key}", code) for key, code in found]
    assert all(problem.line == 4 and problem.fix for problem in told)


def test_any_hour_is_for_calls_that_stay_on_this_machine(folder):
    loaded = load(folder, GOOD.replace('{mon-fri: "09:00-13:00, 14:00-20:00"}', "any", 1))
    assert loaded.campaign.calling.window == "any"
    assert check_against(loaded, MACHINE) == []
    outside = MACHINE.trunks[0].model_copy(update={"host": "sip.example.net"})
    (problem,) = check_against(loaded, MACHINE.model_copy(update={"trunks": (outside, *MACHINE.trunks[1:])}))
    assert (problem.code, problem.key, problem.line) == ("only-in-a-lab", "calling.window", 3)


def test_who_owns_no_numbers_shows_none(folder):
    (problem,) = check_against(load(folder, GOOD), MACHINE.model_copy(update={"caller_ids": ()}))
    assert (problem.code, problem.key) == ("not-owned", "capacity.caller_id")
    assert 'caller_ids: ["+48221234567"]' in problem.fix


def test_messages_speak_plainly(folder):
    words = ("literal", "string_", "dict", "pydantic", "input should", "validat", "union", "none")
    for there, instead, *_ in WRONG_LINES:
        with pytest.raises(InvalidInput) as caught:
            load(folder, GOOD.replace(there, instead, 1))
        for problem in caught.value.problems:
            assert not any(word in f"{problem.message} {problem.fix}".lower() for word in words), problem


def test_every_problem_is_told_in_one_run(folder):
    text = GOOD.replace("health-check", "Health").replace("ring: 20s", "ring: 20").replace("no: bye", "no: nowhere")
    text = text.replace("complete: yes", "complete: yes, colour: red").replace(
        "languages:", "languages: [en]\nlanguages:"
    )
    assert {code for _, _, code in problems(folder, text)} == {
        "wrong-form", "unknown-key", "duplicate-key"
    }  # fmt: skip
    text = GOOD.replace("health-check", "Health").replace("ring: 20s", "ring: 20").replace("no: bye", "no: nowhere")
    assert [code for _, _, code in problems(folder, text)] == [
        "wrong-form",
        "wrong-form",
        "unknown-step",
        "unreachable-step",
    ]


def test_everything_missing_is_named(folder):
    assert problems(folder, "title: x\n") == [
        (1, "campaign", "missing-key"),
        (1, "contacts", "missing-key"),
        (1, "calling", "missing-key"),
        (1, "capacity", "missing-key"),
        (1, "flow", "missing-key"),
    ]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
UNUSABLE = [
    # content                                         line  code
    (b"", None, "empty"),
    (b"# nothing\n", None, "empty"),
    (b"- a\n- b\n", 1, "not-a-mapping"),
    (b"hello", 1, "not-a-mapping"),
    (b"a: [\n", 2, "not-yaml"),
    (b"a: 1\n\tb: 2\n", 2, "not-yaml"),
    (b"a: 1\nb: \x01\n", 2, "not-yaml"),
    (b'a: "\\U00110000"\n', None, "not-yaml"),
    (b"a: 1\nb: \xff\xfe\n", 2, "not-utf-8"),
    ("a: 1".encode("utf-16"), 1, "not-utf-8"),
    (b"a: 1\n---\nb: 2\n", 2, "several-documents"),
    (b"a: !!python/object/apply:os.system [ls]\n", 1, "tag"),
    (b"a: *nothing\n", 1, "wrong-alias"),
    (b"a: &a [*a]\n", 1, "wrong-alias"),
    (b"[" * 100_000, 1, "too-deep"),
    (b"a: &x " + b"y" * 600 + b"\nb: [" + b"*x, " * 9_000 + b"]", 1, "too-large"),
    (BOMB.encode(), 1, "too-large"),
    (BOMB.encode() + b"# 2 MB\n" * 300_000, None, "too-large"),
]


@pytest.mark.parametrize(("content", "line", "code"), UNUSABLE)
def test_what_is_no_campaign_at_all_is_refused(folder, content, line, code):
    assert problems(folder, content) == [(line, "", code)]


def test_a_directory_and_a_missing_file_are_refused(tmp_path):
    for path, code in (
        (tmp_path, "is-a-directory"),
        (tmp_path / "x.yaml", "no-such-file"),
        (Path("/dev/null"), "not-a-file"),
    ):
        with pytest.raises(InvalidInput) as caught:
            load_campaign(path)
        assert [problem.code for problem in caught.value.problems] == [code]


ANY_YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.sampled_from(
        ("campaign", "contacts", "calling", "window", "capacity", "retry", "busy", "flow", "say", "keys", "next")
    ), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
quiet = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quiet
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_a_campaign_or_invalid(folder, content):
    with pytest.raises(InvalidInput):
        load(folder, content)


@quiet
@given(value=ANY_YAML, key=st.sampled_from(list(Campaign.model_json_schema()["properties"])))
def test_any_value_in_any_place_is_a_campaign_or_invalid(folder, value, key):
    document = {**load(folder, GOOD).document, key: value}
    with suppress(InvalidInput):
        load(folder, json.dumps(document))
