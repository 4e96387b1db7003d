"""Which questions and contact fields a campaign has had, over all its revisions: they become columns of reports."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from dialer.storage.tables import revision


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Names in the order of the newest revision's file; what only older revisions had comes after."""

    questions: tuple[str, ...]
    fields: tuple[str, ...]


def asked(connection: Connection, campaign_id: int) -> Asked:
    """The questions (steps `ask`, `menu`, and `callback` for a time) and contact fields of a campaign."""
    documents = connection.execute(
        select(revision.c.document).where(revision.c.campaign_id == campaign_id).order_by(revision.c.number.desc())
    ).scalars()
    questions: dict[str, None] = {}
    fields: dict[str, None] = {}
    for document in documents:
        questions |= dict.fromkeys(name for name, step in document["flow"].items() if _asks(step))
        fields |= dict.fromkeys(document["contacts"].get("fields", ()))
        fields |= dict.fromkeys(document["contacts"].get("constants", ()))
    return Asked(questions=tuple(questions), fields=tuple(fields))


def _asks(step: dict[str, object]) -> bool:
    return "ask" in step or "menu" in step or ("callback" in step and "after" not in step)
