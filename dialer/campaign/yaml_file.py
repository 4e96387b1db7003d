"""Reads a YAML 1.2 file that somebody else wrote: bounded, without tags, every key with its line, duplicates refused.

ruamel.yaml does the syntax and hands us events; we build the values ourselves, because its loaders expand aliases
without bound and keep only the first duplicate key's error. Values are those of YAML 1.2.2's core schema (10.3.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from dialer.errors import InvalidInput, Problem

MAX_BYTES = 1_000_000
MAX_NODES = 50_000
MAX_DEPTH = 32

Key = tuple[str | int, ...]
"""Where a value stands: names of mappings, positions in lists."""

_INT = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_BAD_CHARACTER = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""PostgreSQL stores no NUL and no lone surrogate; the other control characters are never meant."""


@dataclass(frozen=True, kw_only=True)
class YamlFile:
    """What a file holds: plain data without empty values (all keys are texts), the line of each key, its faults."""

    data: dict[str, Any]
    lines: dict[Key, int]
    written: dict[Key, str]
    """Each unquoted value as it was written: `+48` is more than the number 48."""
    problems: tuple[Problem, ...]
    raw: bytes


@dataclass(frozen=True, kw_only=True)
class _Node:
    """A value before aliases are followed: a scalar's text, a list's items or a mapping's pairs."""

    line: int
    scalar: Any = None
    items: list[_Node] | None = None
    pairs: list[tuple[_Node, _Node]] | None = None
    text: str = ""


def dotted(key: Key) -> str:
    """A key path as messages show it: `flow.fever.keys.1`, `contacts.fields[0]`."""
    out = ""
    for part in key:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out


def read(path: Path) -> YamlFile:
    """The mapping in a file. Raises InvalidInput when it cannot be read as one at all."""
    raw = _bytes(path)
    builder = _Builder(str(path))
    root = builder.compose(_text(path, raw))
    if root is None or (root.pairs is None and root.scalar is None and root.items is None):
        raise _unusable(path, None, "empty", "the file is empty", "write a campaign into it; see docs/campaign-file.md")
    if root.pairs is None:
        raise _unusable(path, root.line, "not-a-mapping", "the file does not hold keys with values",
                        "begin with a line such as `campaign: health-check`")  # fmt: skip
    data = builder.expand(root, (), 0)
    return YamlFile(data=data, lines=builder.lines, written=builder.written, problems=tuple(builder.problems), raw=raw)


def _unusable(path: Path | str, line: int | None, code: str, message: str, fix: str) -> InvalidInput:
    problem = Problem(file=str(path), line=line, key="", code=code, message=message, fix=fix)
    return InvalidInput(f"{path} cannot be used", [problem])


def _bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise _unusable(path, None, "is-a-directory", "this is a directory", "name the file in it")
        if path.exists() and not path.is_file():
            raise _unusable(path, None, "not-a-file", "this is not an ordinary file", "name a YAML file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        code = "no-such-file" if isinstance(error, FileNotFoundError) else "unreadable"
        raise _unusable(path, None, code, f"the file cannot be read: {reason}",
                        "check the path, and that you may read it") from error  # fmt: skip
    if len(raw) > MAX_BYTES:
        raise _unusable(path, None, "too-large", f"the file has more than {MAX_BYTES:,} bytes",
                        "a campaign file is small: people belong into the CSV of `contacts`")  # fmt: skip
    return raw


def _text(path: Path, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _unusable(path, line, "not-utf-8", f"byte {error.start} is not UTF-8",
                        "save the file as UTF-8") from error  # fmt: skip


@dataclass
class _Builder:
    """Turns one file's events into a tree, then into plain data; collects located problems on the way."""

    file: str
    lines: dict[Key, int] = field(default_factory=dict)
    written: dict[Key, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    expanded: int = 0
    characters: int = 0

    def compose(self, text: str) -> _Node | None:
        """The tree of the only document; None when there is none."""
        try:
            return self._document(self._events(text))
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else None
            raise _unusable(self.file, line, "not-yaml", f"this is not YAML: {error.problem or error.context}",
                            _syntax_fix(error.problem or "")) from error  # fmt: skip
        except (YAMLError, ValueError, OverflowError) as error:
            position = getattr(error, "position", None)
            line = text.count("\n", 0, position) + 1 if isinstance(position, int) else None
            reason = getattr(error, "reason", None) or str(error)
            raise _unusable(self.file, line, "not-yaml", f"this is not YAML: {reason}",
                            "remove the character, or write it plainly") from error  # fmt: skip

    def _events(self, text: str) -> Iterator[Any]:
        depth = 0
        documents = 0
        for count, event in enumerate(YAML(typ="safe", pure=True).parse(text)):
            line = event.start_mark.line + 1
            # The scanner looks at every open bracket for each token: without this, 100 KB of `[` take minutes.
            depth += isinstance(event, MappingStartEvent | SequenceStartEvent)
            depth -= isinstance(event, MappingEndEvent | SequenceEndEvent)
            documents += isinstance(event, DocumentStartEvent)
            if depth > MAX_DEPTH:
                raise _unusable(self.file, line, "too-deep", f"more than {MAX_DEPTH} levels", "nest less")
            if count > MAX_NODES:
                raise self._too_much(line)
            if documents > 1:
                raise _unusable(self.file, line, "several-documents", "a second document begins here",
                                "remove the line `---` and what follows, or make it a file of its own")  # fmt: skip
            yield event

    def _document(self, events: Iterator[Any]) -> _Node | None:
        anchors: dict[str, _Node] = {}
        root = _Node(line=1, items=[])
        open_nodes = [root]
        for event in events:
            line = event.start_mark.line + 1
            if isinstance(event, MappingEndEvent | SequenceEndEvent):
                open_nodes.pop()
                continue
            if not isinstance(event, AliasEvent | ScalarEvent | MappingStartEvent | SequenceStartEvent):
                continue
            node = self._node(event, anchors, open_nodes, line)
            _put(open_nodes[-1], node)
            if isinstance(event, MappingStartEvent | SequenceStartEvent):
                open_nodes.append(node)
        return root.items[0] if root.items else None

    def _node(self, event: Any, anchors: dict[str, _Node], open_nodes: list[_Node], line: int) -> _Node:
        if isinstance(event, AliasEvent):
            known = anchors.get(event.anchor)
            if known is None or any(known is node for node in open_nodes):
                raise _unusable(self.file, line, "wrong-alias", f"*{event.anchor} repeats nothing that is known here",
                                f"set &{event.anchor} before it, or write the value out")  # fmt: skip
            return known
        if event.tag is not None:
            raise _unusable(self.file, line, "tag", f"tags such as {event.tag} are not used here",
                            "remove the word that begins with an exclamation mark")  # fmt: skip
        if isinstance(event, ScalarEvent):
            plain = event.implicit[0]
            node = _Node(line=line, scalar=_scalar(event.value) if plain else event.value, text=event.value)
        elif isinstance(event, MappingStartEvent):
            node = _Node(line=line, pairs=[])
        else:
            node = _Node(line=line, items=[])
        if event.anchor:
            anchors[event.anchor] = node
        return node

    def expand(self, node: _Node, key: Key, depth: int) -> Any:
        """Plain data, aliases followed; keys without a value are reported and left out."""
        self.expanded += 1
        self.characters += len(node.text)
        if self.expanded > MAX_NODES or self.characters > MAX_BYTES or depth > MAX_DEPTH:
            raise self._too_much(node.line)
        self.lines.setdefault(key, node.line)
        if node.pairs is not None:
            return self._mapping(node.pairs, key, depth)
        if node.items is not None:
            return [self.expand(item, (*key, place), depth + 1) for place, item in enumerate(node.items)]
        if isinstance(node.scalar, str) and (bad := _BAD_CHARACTER.search(node.scalar)):
            self._problem(node.line, key, "bad-character", f"the text holds the control character {bad[0]!r}",
                          "remove it")  # fmt: skip
        self.written[key] = node.text
        return node.scalar

    def _mapping(self, pairs: list[tuple[_Node, _Node]], key: Key, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        first: dict[str, int] = {}
        for name_node, value_node in pairs:
            name, place = name_node.text, (*key, name_node.text)
            if name_node.pairs is not None or name_node.items is not None:
                self._problem(name_node.line, key, "wrong-type", "a key must be a word, not a list or a mapping",
                              "write it as `key: value`; a text that holds braces needs quotes")  # fmt: skip
                continue
            if name in first:
                self._problem(name_node.line, place, "duplicate-key", f"`{name}` stands here again; "
                              f"line {first[name]} has it already", "keep one of them")  # fmt: skip
                continue
            first[name] = self.lines[place] = name_node.line
            if _BAD_CHARACTER.search(name):
                self._problem(name_node.line, key, "bad-character", f"the key {name!r} holds a control character",
                              "remove it")  # fmt: skip
                continue
            data[name] = self.expand(value_node, place, depth + 1)
            if data[name] is None:
                self._problem(name_node.line, place, "no-value", f"`{name}` has no value",
                              "write a value after the colon, or remove the line")  # fmt: skip
                del data[name]
        return data

    def _problem(self, line: int, key: Key, code: str, message: str, fix: str) -> None:
        self.problems.append(
            Problem(file=self.file, line=line, key=dotted(key), code=code, message=message, fix=fix)
        )  # fmt: skip

    def _too_much(self, line: int) -> InvalidInput:
        return _unusable(self.file, line, "too-large", "the file grows too large: what *name repeats counts "
                         "each time", "write less; people belong into the CSV of `contacts`")  # fmt: skip


def _put(parent: _Node, node: _Node) -> None:
    """Adds a node to its list or mapping; in a mapping every second node is the value of the one before."""
    if parent.items is not None:
        parent.items.append(node)
        return
    assert parent.pairs is not None
    waiting = parent.pairs[-1] if parent.pairs else None
    if waiting is not None and waiting[1] is _MISSING:
        parent.pairs[-1] = (waiting[0], node)
    else:
        parent.pairs.append((node, _MISSING))


_MISSING = _Node(line=0)


def _scalar(text: str) -> Any:
    """A plain scalar by the core schema: null, true, a number, else the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if len(text) < 40 and _FLOAT.fullmatch(text):
        return float(text)
    return text


def _syntax_fix(problem: str) -> str:
    if "'\\t'" in problem:
        return "indent with spaces, not with tabs"
    if "found '<scalar>'" in problem or "cannot start any token" in problem:
        return "put the whole text between double quotes"
    return "look at this line and the one before it: a colon, a quote or the indentation is wrong"
