"""Who may send: tokens and signatures that are right, and everything that is nearly right."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest

from etl.access import Access, Kind, Token, Unauthorised, webhook_secret

KEY = b"k" * 64
NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
BODY = b'{"event_id": 1}\n'


@pytest.fixture
def access():
    made = Access(KEY)
    made.learn(
        [
            Token(
                id="aaaa", tenant_id="acme", source="helpdesk", kind=Kind.BEARER,
                sha256=hashlib.sha256(b"right").digest(),
            ),
            Token(id="bbbb", tenant_id="globex", source="chat", kind=Kind.WEBHOOK, sha256=None),
        ]
    )  # fmt: skip
    return made


@pytest.mark.parametrize("header", ["Bearer dct_aaaa.right", "bearer  dct_aaaa.right ", "Bearer aaaa.right"])
def test_a_token_names_its_tenant(access, header):
    assert access.bearer(header).tenant_id == "acme"


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer dct_aaaa", "Bearer dct_aaaa.", "Bearer dct_aaaa.wrong", "Bearer dct_cccc.right",
     "Basic dct_aaaa.right", "Bearer dct_bbbb.", "Bearer .right", "Bearer dct_aaaa.right.right"],
)  # fmt: skip
def test_anything_else_is_nobody(access, header):
    with pytest.raises(Unauthorised):
        access.bearer(header)


def test_a_revoked_token_is_nobody(access):
    access.learn([])
    with pytest.raises(Unauthorised):
        access.bearer("Bearer dct_aaaa.right")


def headers(**changes: str) -> dict[str, str]:
    """As the Standard Webhooks specification says, computed apart from the code."""
    secret = webhook_secret(KEY, "bbbb")
    signature = base64.b64encode(hmac.new(secret, b"msg_1." + STAMP.encode() + b"." + BODY, hashlib.sha256).digest())
    good = {"webhook-id": "msg_1", "webhook-timestamp": STAMP, "webhook-signature": f"v1,{signature.decode()}"}
    return good | {name.replace("_", "-"): value for name, value in changes.items()}


def test_a_signature_is_taken_beside_those_of_other_secrets(access):
    good = headers()["webhook-signature"]
    for signature in (good, f"v1,AAAA {good}", f"v1a,xxxx {good} v1,not-base64"):
        access.verify(access.webhook("bbbb"), headers(webhook_signature=signature), BODY, NOW)


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({}, BODY + b" "),
        ({"webhook_id": "msg_2"}, BODY),
        ({"webhook_timestamp": str(int(STAMP) + 1)}, BODY),
        ({"webhook_timestamp": str(int(STAMP) - 301)}, BODY),
        ({"webhook_timestamp": str(int(STAMP) + 301)}, BODY),
        ({"webhook_timestamp": "9" * 12}, BODY),
        ({"webhook_timestamp": "9" * 11}, BODY),
        ({"webhook_timestamp": "now"}, BODY),
        ({"webhook_signature": ""}, BODY),
        ({"webhook_signature": "v1,"}, BODY),
        ({"webhook_signature": "v2" + headers()["webhook-signature"][2:]}, BODY),
    ],
)
def test_a_signature_that_is_not_over_this_now_is_none(access, changes, body):
    with pytest.raises(Unauthorised):
        access.verify(access.webhook("bbbb"), headers(**changes), body, NOW)


def test_each_webhook_has_a_secret_of_its_own(access):
    assert webhook_secret(KEY, "bbbb") != webhook_secret(KEY, "bbbc")
    assert webhook_secret(KEY, "bbbb") != webhook_secret(b"l" * 64, "bbbb")
    for token_id in ("aaaa", "cccc", ""):
        with pytest.raises(Unauthorised):
            access.webhook(token_id)
