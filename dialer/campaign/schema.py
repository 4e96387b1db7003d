"""The JSON Schema of campaign files, for editors: it completes and checks while an operator types."""

from __future__ import annotations

import json
from typing import Any

from dialer.campaign import values
from dialer.campaign.capacity import Capacity
from dialer.campaign.model import Campaign

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema as plain data; it allows what `load_campaign` allows in the form of the file."""
    made = Campaign.model_json_schema()
    _close(made)
    for part in (made, *made["$defs"].values()):
        # In the model a missing key is None; in the file it is left out: an empty value is refused.
        for name, property_ in part.get("properties", {}).items():
            part["properties"][name] = _plain(property_)
    capacity = made["$defs"]["Capacity"]["properties"]
    for name in ("ring", "longest_call", "ramp_up"):
        capacity[name]["default"] = values.duration_text(Capacity.model_fields[name].default)
    for part in ("Calling", "Pack"):
        for name in ("last_call", "gap"):
            made["$defs"][part]["properties"][name]["default"] = values.duration_text(0)
    made["$defs"]["Contacts"]["properties"]["withdraw_at_most"]["default"] = "50%"
    capacity["max_silent"]["default"] = f"{Capacity.model_fields['max_silent'].default:.0%}"
    return {"$schema": DIALECT, **made}


def schema_text() -> str:
    """The schema as the file that `# yaml-language-server: $schema=` names."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _close(part: Any) -> None:
    """Lets no name through that matches no pattern, as the model does."""
    if isinstance(part, dict) and "patternProperties" in part:
        part["additionalProperties"] = False
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _close(inner)


def _plain(property_: dict[str, Any]) -> dict[str, Any]:
    """Without null, without titles that only repeat the key, without defaults that say nothing."""
    out = {key: value for key, value in property_.items() if key != "title"}
    if out.get("default", ...) is None or isinstance(out.get("default"), dict):
        del out["default"]
    branches = [branch for branch in out.pop("anyOf", []) if branch != {"type": "null"}]
    if len(branches) == 1:
        return {**branches[0], **out}
    return {**out, "anyOf": branches} if branches else out
