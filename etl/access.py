"""Who may send events: bearer tokens and signed webhooks, each bound to a tenant and to the name of its source."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from sqlalchemy import Connection, insert, select, text, update

from dialer.clock import from_epoch
from dialer.storage.tables import collect_token

TOLERANCE = timedelta(minutes=5)
"""Between a webhook's timestamp and our clock (the Standard Webhooks specification)."""
_SECRET_BYTES = 32
_BEARER = "dct_"
_WEBHOOK = "whsec_"


class Kind(Enum):
    """How a source shows who it is."""

    BEARER = "bearer"
    WEBHOOK = "webhook"


class Unauthorised(Exception):
    """Nobody whom we know."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """A credential, without its secret."""

    id: str
    tenant_id: str
    source: str
    kind: Kind
    sha256: bytes | None
    """Of a bearer's secret."""


@dataclass(frozen=True, kw_only=True)
class Listed(Token):
    """A credential as an operator sees it."""

    added_at: datetime
    added_by: str
    revoked_at: datetime | None


class Access:
    """The credentials that are good now. Nothing here reads the database; `learn` is told."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._tokens: dict[str, Token] = {}
        self.ready = False
        """Whether the credentials are known yet."""
        self.shared = False
        """Whether several tenants may send."""

    def learn(self, tokens: Iterable[Token]) -> None:
        """Puts these in place of all."""
        self._tokens = {token.id: token for token in tokens}
        self.shared = len({token.tenant_id for token in self._tokens.values()}) > 1
        self.ready = True

    def bearer(self, authorization: str) -> Token:
        """The token in an `Authorization` header. Raises Unauthorised."""
        scheme, _, credential = authorization.partition(" ")
        token_id, _, secret = credential.strip().removeprefix(_BEARER).partition(".")
        token = self._tokens.get(token_id)
        given = hashlib.sha256(secret.encode()).digest()
        if scheme.lower() != "bearer" or token is None or token.sha256 is None:
            raise Unauthorised("no such token")
        if not hmac.compare_digest(given, token.sha256):
            raise Unauthorised("no such token")
        return token

    def webhook(self, token_id: str) -> Token:
        """The webhook of that id; `verify` tells whether a request is its. Raises Unauthorised."""
        token = self._tokens.get(token_id)
        if token is None or token.kind is not Kind.WEBHOOK:
            raise Unauthorised("no such webhook")
        return token

    def verify(self, token: Token, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Checks the signature of a webhook over the bytes that came. Raises Unauthorised."""
        stamp = headers.get("webhook-timestamp", "")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 11):
            raise Unauthorised("webhook-timestamp is missing, or no count of seconds")
        if abs(from_epoch(int(stamp)) - now) > TOLERANCE:
            raise Unauthorised("webhook-timestamp is more than five minutes from our clock")
        signed = f"{headers.get('webhook-id', '')}.{stamp}.".encode() + body
        right = hmac.digest(webhook_secret(self._key, token.id), signed, "sha256")
        # Several while a secret is being changed.
        for part in headers.get("webhook-signature", "").split():
            version, _, signature = part.partition(",")
            if version == "v1" and hmac.compare_digest(_decoded(signature), right):
                return
        raise Unauthorised("no signature of this webhook's secret")


def webhook_secret(key: bytes, token_id: str) -> bytes:
    """Made from the settings' key, so that it stands nowhere; another key makes all of them anew."""
    return hmac.digest(key, f"dialer collect webhook {token_id}".encode(), "sha256")


def add(connection: Connection, *, tenant_id: str, source: str, kind: Kind, by: str, key: bytes) -> tuple[str, str]:
    """Makes a credential; its id, and the secret, which is not to be had again in the case of a bearer's."""
    token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(_SECRET_BYTES)
    bearer = kind is Kind.BEARER
    connection.execute(
        insert(collect_token).values(
            id=token_id, tenant_id=tenant_id, source=source, kind=kind.value, added_by=by,
            sha256=hashlib.sha256(secret.encode()).digest() if bearer else None,
        )
    )  # fmt: skip
    if bearer:
        return token_id, f"{_BEARER}{token_id}.{secret}"
    return token_id, _WEBHOOK + base64.b64encode(webhook_secret(key, token_id)).decode()


def listed(connection: Connection) -> list[Listed]:
    """All credentials, revoked ones too, oldest first."""
    rows = connection.execute(select(collect_token).order_by(collect_token.c.added_at, collect_token.c.id))
    return [Listed(**{**row, "kind": Kind(row["kind"])}) for row in rows.mappings()]


def revoke(connection: Connection, token_id: str) -> Listed | None:
    """Makes a credential worthless from now on; None when there is none of that id that was any good."""
    columns = collect_token.c
    done = connection.execute(
        update(collect_token)
        .where(columns.id == token_id, columns.revoked_at.is_(None))
        .values(revoked_at=text("clock_timestamp()"))
        .returning(collect_token)
    )
    row = done.mappings().one_or_none()
    return Listed(**{**row, "kind": Kind(row["kind"])}) if row else None


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return b""
