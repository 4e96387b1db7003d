"""The rendered node configuration: golden files, and the rules that no change may break."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from dialer.node_files import NodeDirectories, NodeSecrets
from dialer.settings import Settings
from dialplan.render import SECRETS_FILE, render_node

GOLDEN = Path(__file__).parents[1] / "golden" / "dialplan"

SETTINGS = Settings.model_validate(
    {
        "database": "postgresql:///dialer",
        "state_dir": "/var/lib/dialer",
        "mac_key_file": "/etc/dialer/mac.key",
        "agi": {"port": 4573},
        "nodes": [
            {"name": "node-1", "ami": {"secret_file": "/etc/dialer/ami"}, "sip_address": "192.0.2.10"},
            {"name": "node-2", "ami": {"secret_file": "/etc/dialer/ami-2"}, "longest_call_s": 60},
        ],
        "trunks": [
            {"name": "carrier-a", "node": "node-1", "host": "192.0.2.1"},
            {"name": "carrier-b", "node": "node-1", "host": "192.0.2.2", "port": 5080, "codec": "ulaw"},
            {"name": "carrier-c", "node": "node-2", "host": "192.0.2.3"},
        ],
    }
)


def render(name: str, secrets: NodeSecrets | None = None) -> dict[str, str]:
    return render_node(SETTINGS, SETTINGS.node(name), directories=NodeDirectories(), secrets=secrets)


def test_golden() -> None:
    """DIALER_GOLDEN=write pytest tests/unit/test_dialplan_render.py writes them anew; read the diff."""
    files = render("node-1")
    if os.environ.get("DIALER_GOLDEN") == "write":
        GOLDEN.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (GOLDEN / name).write_text(text, encoding="utf-8")
    assert files == {path.name: path.read_text(encoding="utf-8") for path in GOLDEN.glob("*.conf")}


def test_node_has_its_own_trunks_and_limits_only() -> None:
    files = render("node-2")
    assert re.findall(r"(?m)^contact = (.*)$", files["pjsip.conf"]) == ["sip:192.0.2.3:5060"]
    assert "TIMEOUT(absolute)=60" in files["extensions.conf"]


def test_secrets_stand_in_their_own_file_alone() -> None:
    files = render("node-1", NodeSecrets(dialer="s3cret-one", watch="s3cret-two"))
    holders = [name for name, text in files.items() if "s3cret" in text]
    assert holders == [SECRETS_FILE]
    assert SECRETS_FILE not in render("node-1")
    assert "s3cret" not in repr(NodeSecrets(dialer="s3cret-one", watch="s3cret-two"))


# What a node must never load: ways to run programs, read files, place calls by dropping a file, or get in.
DANGEROUS = [
    "app_system", "func_shell", "func_curl", "func_env", "app_externalivr", "pbx_spool", "func_db", "app_dial",
    "app_originate", "res_http", "res_ari", "chan_iax2", "pbx_dundi", "cdr_", "app_exec", "func_evalexten",
]  # fmt: skip


@pytest.mark.parametrize("module", DANGEROUS)
def test_dangerous_module_is_not_loaded(module: str) -> None:
    text = render("node-1")["modules.conf"]
    assert "autoload = no" in text
    assert not re.search(rf"(?m)^load = {module}", text)


def test_dialplan_has_no_way_to_dial_on() -> None:
    text = render("node-1")["extensions.conf"]
    applications = set(re.findall(r"(?m)^(?:exten = [^,]+,1|\s*same = n),(\w+)\(", text))
    assert applications == {"Set", "AGI", "GotoIf", "Wait", "Playback", "Hangup"}


def test_whoever_hears_no_worker_hears_an_apology() -> None:
    text = render("node-1")["extensions.conf"]
    acts = re.findall(r"(?m)^ same = (n\S*?),(\w+)\((.*)\)$", text)
    turns = [
        [("n", "AGI", f"agi://127.0.0.1:4573/flow,${{DIALER_ATTEMPT}},{turn}"),
         ("n", "GotoIf", '$["${DIALER_DONE}" = "1"]?bye')]
        for turn in (1, 2, 3)
    ]  # fmt: skip
    assert acts == [
        *turns[0], ("n", "Wait", "0.3"), *turns[1], ("n", "Wait", "0.3"), *turns[2],
        ("n", "Playback", "/var/lib/dialer/prompts/apology"),
        ("n(bye)", "Hangup", ""),
    ]  # fmt: skip


def test_manager_is_least_privileged() -> None:
    text = render("node-1")["manager.conf"]
    assert re.findall(r"(?m)^write = (.*)$", text) == ["originate,call,reporting", "reporting"]
    assert re.findall(r"(?m)^read = (.*)$", text) == ["system,call"] * 2
    assert re.findall(r"(?m)^bindaddr = (.*)$", text) == ["127.0.0.1"]
