"""The verdict table: reads as the policy."""

import pytest

from dialer.calls.disposition import BLAME, FLOW, UNCOUNTED, Disposition, Facts, verdict
from dialer.calls.results import FlowResult

# answered, rang, reason, SIP, Q.850 cause → verdict. As seen on Asterisk 22.10.1 (docs/dispositions.md).
UNANSWERED = """
rang  reason  sip  cause  verdict
yes   0       486  17     busy
yes   0       600  17     busy
no    0       404  1      invalid_number
no    0       604  1      invalid_number
no    0       484  28     invalid_number
no    0       410  22     number_changed
no    0       503  34     congestion
no    0       500  38     congestion
no    0       504  102    congestion
no    0       502  27     out_of_order
yes   0       603  21     rejected
no    0       403  21     trunk_refused
no    0       401  21     trunk_refused
no    0       407  21     trunk_refused
no    0       488  58     media_error
yes   0       607  127    blocked
yes   0       608  127    blocked
yes   0       480  19     no_answer
yes   3       480  19     no_answer
no    3       480  19     congestion
no    0       408  18     congestion
yes   0       408  18     unreachable
yes   0       -    17     busy
yes   0       -    20     unreachable
yes   0       -    127    unknown
yes   -       -    -      unknown
"""


def rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.strip().splitlines()[1:]]


def number(text: str) -> int | None:
    return None if text == "-" else int(text)


@pytest.mark.parametrize(("rang", "reason", "sip", "cause", "expected"), rows(UNANSWERED))
def test_unanswered(rang, reason, sip, cause, expected):
    facts = Facts(
        channel_seen=True,
        rang=rang == "yes",
        originate_reason=number(reason),
        tech_cause=number(sip),
        cause=number(cause),
    )
    assert verdict(facts).value == expected


@pytest.mark.parametrize(
    ("flow", "answers", "expected"),
    [
        ("completed", 2, "completed"),
        ("partial", 1, "partial"),
        ("refused", 0, "refused"),
        ("no_input", 0, "no_input"),
        ("hung_up", 0, "hung_up"),
        ("hung_up", 1, "partial"),
        ("error", 0, "dialogue_error"),
        (None, 0, "dialogue_error"),
    ],
)
def test_answered(flow, answers, expected):
    facts = Facts(answered=True, flow=FlowResult(flow) if flow else None, answers=answers, cause=16)
    assert verdict(facts).value == expected


def test_what_never_became_a_channel_was_not_placed_if_somebody_watched():
    assert verdict(Facts(refused=True)) is Disposition.NOT_PLACED
    assert verdict(Facts(originate_reason=0)) is Disposition.NOT_PLACED
    assert verdict(Facts(originate_reason=0, watched=False)) is Disposition.UNKNOWN
    assert verdict(Facts(originate_reason=3, watched=False)) is Disposition.NO_ANSWER
    assert verdict(Facts(returned=True)) is Disposition.RETURNED


def test_a_call_that_lost_its_sound_is_not_the_persons_doing():
    assert verdict(Facts(answered=True, flow=FlowResult.HUNG_UP, answers=1, cause=44)) is Disposition.RTP_LOST


def test_no_evidence_is_unknown():
    assert verdict(Facts()) is Disposition.UNKNOWN


def test_every_result_and_disposition_has_its_row():
    assert set(FLOW) == set(FlowResult)
    assert set(BLAME) == set(Disposition)
    assert all(BLAME[d].value in ("trunk", "ours") for d in UNCOUNTED)
