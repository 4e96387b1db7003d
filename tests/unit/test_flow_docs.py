"""docs/flow.md tells the truth: its examples pass, its codes and words are those of the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from dialer.calls.results import FlowResult, TryOutcome
from dialer.campaign import flow_checks
from dialer.campaign.model import Campaign

PAGE = (Path(__file__).parents[2] / "docs" / "flow.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_pass(example: str) -> None:
    campaign = Campaign.model_validate({
        "campaign": "test", "calling": {"window": "any"},
        "contacts": {"from": "base.csv", "numbers": ["mobile"], "fields": ["first_name"]},
        "capacity": {"max_concurrent": 1, "calls_per_second": 1, "trunks": ["a"], "caller_id": "+48221234567"},
        **YAML(typ="safe", pure=True).load(example),
    })  # fmt: skip
    assert flow_checks.problems(campaign) == []


def test_every_code_is_explained() -> None:
    source = Path(flow_checks.__file__).read_text(encoding="utf-8")
    codes = set(re.findall(r"code=\"([a-z-]+)\"|problem\(\"([a-z-]+)\"", source))
    found = {one or other for one, other in codes}
    assert len(found) >= 15
    assert [code for code in sorted(found) if f"`{code}`" not in PAGE] == []


def test_every_word_is_explained() -> None:
    words = [member.value for member in (*FlowResult, *TryOutcome)]
    assert [word for word in words if f"`{word}`" not in PAGE] == []
