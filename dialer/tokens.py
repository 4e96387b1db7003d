"""Signs the one id that crosses AMI and FastAGI, so that nobody on the port can answer for somebody else's call."""

from __future__ import annotations

import hmac
from uuid import UUID

_MAC_HEX = 32


def sign(attempt_id: UUID, key: bytes) -> str:
    """`<uuid>.<mac>`: HMAC-SHA256 (RFC 2104) of the id, cut to 128 bits."""
    return f"{attempt_id}.{_mac(str(attempt_id), key)}"


def verify(token: str, key: bytes) -> UUID | None:
    """The attempt that a token names; None when the token is not one that we signed."""
    text, _, mac = token.partition(".")
    if not hmac.compare_digest(mac.encode(), _mac(text, key).encode()):
        return None
    try:
        return UUID(text)
    except ValueError:
        return None


def _mac(text: str, key: bytes) -> str:
    return hmac.digest(key, text.encode(), "sha256").hex()[:_MAC_HEX]
