"""`dialer run --dry-run` says what a run would do, and does nothing."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from dialer.errors import InvalidInput
from dialer.run_command import Siblings, run_command

CAMPAIGN = """\
campaign: two-ways
contacts: {from: people.csv, numbers: [mobile, home]}
calling: {window: any}
capacity:
  max_concurrent: 10
  calls_per_second: 2
  trunks: [carrier-a, {name: carrier-b, weight: 3, priority: 2, caller_id: {pool: ["+48225550100", "+48225550101"]}}]
  caller_id: {by_region: {"+4822": "+48221234567"}, otherwise: "+48121234567"}
flow: {hello: {say: "Hello."}}
"""
PEOPLE = "mobile,home\n+48501100101,+4930901820\n+48501100102,+12125550123\nnobody,\n"
SETTINGS = {
    "database": "postgresql:///dialer",
    "mac_key_file": "key",
    "caller_ids": ["+48221234567", "+48121234567", "+48225550100-+48225550199"],
    "nodes": [{"name": "node-1", "ami": {"secret_file": "ami"}, "max_concurrent": 100}],
    "trunks": [
        {"name": "carrier-a", "node": "node-1", "host": "127.0.0.1", "prefixes": ["+48"], "calls_per_second": 5.5},
        {"name": "carrier-b", "node": "node-1", "host": "127.0.0.2", "prefixes": ["+49"], "max_concurrent": 300},
    ],
}


def dry_run(folder: Path, settings: dict[str, object], campaign: str = CAMPAIGN) -> Result:
    def never(*_: object) -> None:
        raise AssertionError("a dry run does nothing")

    (folder / "dialer.yaml").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "campaign.yaml").write_text(campaign, encoding="utf-8")
    (folder / "people.csv").write_text(PEOPLE, encoding="utf-8")
    command = run_command(Siblings(build_prompts=never, workers=never, look_at_workers=never, nightly=never))
    arguments = [str(folder / "campaign.yaml"), "--settings", str(folder / "dialer.yaml"), "--dry-run"]
    return CliRunner().invoke(command, arguments)


def test_it_says_who_would_be_called_and_how(tmp_path):
    done = dry_run(tmp_path, SETTINGS)
    assert (done.exit_code, done.stdout.splitlines()) == (0, [
        "two-ways: would call 2 people at 4 numbers",
        "  rejected rows: 1",
        "  numbers that no trunk carries: 1",
        "  inside their window now: 2",
        "  at most 10 calls at once and 2 new ones a second; the first wave takes at least 1 s",
        "  through carrier-a (node node-1, priority 1, weight 1): carries +48, at most 100 calls at once and 5.5 new "
        "ones a second; shows +48221234567 to +4822…, +48121234567 to others",
        "  through carrier-b (node node-1, priority 2, weight 3): carries +49, at most 100 calls at once and 50 new "
        "ones a second; shows +48225550100, +48225550101 in turn",
        "  flow: hello",
        "Nothing was stored and nobody was called.",
    ])  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["campaign.yaml", "dialer.yaml", "people.csv"]


def test_a_trunk_may_lead_anywhere_but_not_at_any_hour(tmp_path):
    trunks = [{**one, "host": "192.0.2.7"} for one in SETTINGS["trunks"]]
    elsewhere = {**SETTINGS, "trunks": trunks}
    by_day = CAMPAIGN.replace("{window: any}", '{window: {mon-fri: "09:00-20:00"}}')
    assert dry_run(tmp_path, elsewhere, by_day).exit_code == 0
    refused = dry_run(tmp_path, elsewhere)
    assert isinstance(refused.exception, InvalidInput)
    assert {problem.code for problem in refused.exception.problems} == {"only-in-a-lab"}
