"""Personal texts: `{first_name}` stands for a field of the contact, `{{` and `}}` for braces; nothing else is special.

Only whole names are replaced: no attributes, indexes or formats, so a text can reach nothing but the named fields
(str.format would let `{x.__class__}` walk through the program).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

MAX_FIELD_CHARS = 200
"""A longer field is cut: nobody listens to a novel in place of a name."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def names(text: str) -> list[str]:
    """The fields that a text uses, in order. Raises ValueError when a brace stands alone or a name is empty."""
    found = []
    for token in _TOKEN.finditer(text):
        if token[1] is not None:
            if not token[1].strip():
                raise ValueError("{} names no field")
            found.append(token[1].strip())
        elif len(token[0]) == 1:
            raise ValueError(f"a single {token[0]} means nothing")
    return found


def unknown(text: str, fields: Collection[str]) -> list[str]:
    """The names in a text that are not among `fields`. Raises ValueError as `names`."""
    return [name for name in dict.fromkeys(names(text)) if name not in fields]


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text for one person. A field without a value says nothing; braces that mean nothing stay as they are."""

    def replaced(token: re.Match[str]) -> str:
        if token[1] is not None:
            return str(values.get(token[1].strip()) or "")[:MAX_FIELD_CHARS]
        return token[0][0]

    return _TOKEN.sub(replaced, text)
