"""Reads secrets: each stands in a file of its own, never in settings, arguments or logs."""

from __future__ import annotations

from pathlib import Path

from dialer.errors import InvalidInput


def read_secret(path: Path) -> str:
    """A secret from its own file, without the line's end."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidInput(
            f"cannot read the secret in {path}: {error.strerror}. Create it, readable by you alone."
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"the secret in {path} is not text. Make one with `openssl rand -hex 32 > {path}`."
        ) from error
    if not text:
        raise InvalidInput(
            f"the secret file {path} is empty. Put a long random text into it, for example with "
            f"`openssl rand -hex 32 > {path}`."
        )
    if not text.isprintable():
        raise InvalidInput(f"the secret in {path} has more than one line. Keep one line of printable characters.")
    return text
