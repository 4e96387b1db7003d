"""docs/retries.md tells the truth: its examples pass, and every key and word of a rule stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from dialer.campaign import answer_rules, flow_checks
from dialer.campaign.model import Campaign
from dialer.campaign.retry import ANOTHER_TIME, ANY_TIME, COMPLETED, Retry, RetryPolicy

PAGE = (Path(__file__).parents[2] / "docs" / "retries.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_pass(example: str) -> None:
    campaign = Campaign.model_validate({
        "campaign": "test", "calling": {"window": "any"}, "contacts": {"from": "base.csv", "numbers": ["mobile"]},
        "capacity": {"max_concurrent": 1, "calls_per_second": 1, "trunks": ["a"], "caller_id": "+48221234567"},
        "flow": {"bye": {"say": "Goodbye."}},
        **YAML(typ="safe", pure=True).load(example),
    })  # fmt: skip
    assert [*flow_checks.problems(campaign), *answer_rules.problems(campaign)] == []


def test_every_key_and_word_of_a_rule_is_explained() -> None:
    numbers = get_args(Retry.model_fields["number"].annotation)
    of_policy = set(RetryPolicy.model_fields) & {"attempts", "waves", "answers"}
    words = {*Retry.model_fields, *of_policy, *numbers, ANOTHER_TIME, ANY_TIME, COMPLETED}
    assert [word for word in sorted(words) if not re.search(rf"`{word}\b|: {word}\b", PAGE)] == []
