"""The bytes of a request as lines: read, unpacked and counted while they come, so that no limit is passed in memory."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator

from dialer.settings import CollectSettings

READ_S = 30.0
"""A sender that is slower holds a connection for nothing."""
_STEP = 2**20
_PIECE = 2**16
_GZIP = 16 + zlib.MAX_WBITS
NDJSON = "application/x-ndjson"
JSON = "application/json"
_BOM = b"\xef\xbb\xbf"


class Refusal(Exception):
    """A request that is answered with another status than 202."""

    def __init__(self, status: int, error: str, detail: str, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.error, self.detail, self.retry_after_s = status, error, detail, retry_after_s


Grow = Callable[[int], None]
"""Told of bytes before they are kept."""


def check_form(content_type: str, encoding: str) -> str:
    """The media type. Raises Refusal (415)."""
    media = content_type.partition(";")[0].strip().lower()
    if media not in (NDJSON, JSON):
        raise Refusal(415, "media_type", f"send {NDJSON} with an event a line, or {JSON} with one event")
    if encoding.strip().lower() not in ("", "identity", "gzip"):
        raise Refusal(415, "encoding", "send it as it is, or with gzip")
    return media


async def received(stream: AsyncIterator[bytes], declared: str, limits: CollectSettings, grow: Grow) -> bytes:
    """The body as it was sent. Raises Refusal (408, 413)."""
    if declared.isdigit() and int(declared) > limits.max_body:
        raise _too_large(f"{declared} bytes", limits.max_body)
    parts, size = [], 0
    try:
        async with asyncio.timeout(READ_S):
            async for chunk in stream:
                size += len(chunk)
                if size > limits.max_body:
                    raise _too_large("the body", limits.max_body)
                grow(len(chunk))
                parts.append(chunk)
    except TimeoutError:
        raise Refusal(408, "slow", f"the body did not come within {READ_S:g} s") from None
    return b"".join(parts)


async def unpacked(body: bytes, limits: CollectSettings, grow: Grow) -> bytes:
    """What gzip made small, all of its members (RFC 1952). Raises Refusal (400, 413)."""
    parts, size = [], 0
    try:
        for part in _members(body, limits):
            size += len(part)
            if size > limits.max_unpacked:
                raise _too_large("the unpacked body", limits.max_unpacked)
            grow(len(part))
            parts.append(part)
            await asyncio.sleep(0)
    except zlib.error as error:
        raise Refusal(400, "gzip", f"the body is no gzip: {error}") from error
    return b"".join(parts)


def _members(body: bytes, limits: CollectSettings) -> Iterator[bytes]:
    """Unpacks step by step, each of a bounded size, empty ones too."""
    member, begun = zlib.decompressobj(_GZIP), 1
    # In pieces: zlib copies what is left behind each step and each member, and there may be thousands of either.
    for start in range(0, len(body), _PIECE):
        rest = body[start : start + _PIECE]
        while True:
            if member.eof:
                if not rest:
                    break
                member, begun = zlib.decompressobj(_GZIP), begun + 1
                if begun > limits.max_lines:
                    raise Refusal(413, "gzip", f"{limits.max_lines} members of gzip are the most")
            part = member.decompress(rest, _STEP)
            rest = member.unused_data if member.eof else member.unconsumed_tail
            yield part
            if not rest and len(part) < _STEP:
                break
    if not member.eof:
        raise Refusal(400, "gzip", "the body ends before its gzip does")


def lines(body: bytes, media: str, limits: CollectSettings) -> list[bytes]:
    """The lines of a body; one event in JSON may stand on several, and is one. Raises Refusal (400, 413)."""
    body = body.removeprefix(_BOM)
    if media == JSON:
        found = [body]
    else:
        # Counted before they are divided: millions of empty ones would take many times the memory of the body.
        count = body.count(b"\n") + (not body.endswith(b"\n"))
        if count > limits.max_lines:
            raise Refusal(413, "lines", f"{count} lines, and {limits.max_lines} are the most: send them in parts")
        found = body.split(b"\n")
    if not body.strip():
        raise Refusal(400, "empty", "the body holds no event")
    return found


def _too_large(what: str, most: int) -> Refusal:
    return Refusal(413, "size", f"{what}: {most} bytes are the most; send it in parts")
