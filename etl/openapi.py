"""The collector's OpenAPI description, made of the types that it reads and answers with."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from dialer import __version__
from etl.answer import Answer, Problem
from etl.body import JSON, NDJSON
from etl.event_types import TYPES
from etl.wire import Line

_REFUSALS = {
    "401": "Nobody whom we know.",
    "408": "The body came too slowly.",
    "413": "More bytes or lines than are taken at once; send it in parts.",
    "415": "Another media type or encoding.",
    "429": "The tenant's quota is used up; come again after `Retry-After`.",
    "503": "The collector cannot store anything now; come again after `Retry-After`.",
}


@cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1 as plain data."""
    payloads = list(dict.fromkeys(kind.payload for kind in TYPES.values()))
    _, schemas = msgspec.json.schema_components([Line, Answer, Problem, *payloads], ref_template=_ref("{name}"))
    event = schemas["Line"]
    event["properties"]["payload"] = {
        "type": "object", "default": {},
        "description": "By type as `x-payloads` names it; other keys are kept. Of an unknown type: any object.",
    }  # fmt: skip
    event["x-payloads"] = {
        name: {"subject_type": kind.subject_type, "version": kind.version, "payload": _ref(kind.payload.__name__)}
        for name, kind in TYPES.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "dialer collect", "version": __version__, "description": "Events of any source."},
        "paths": {
            "/v1/events": {"post": _post()},
            "/healthz": {"get": _get("Whether the process lives.", "text/plain", {"200": "It does."})},
            "/readyz": {
                "get": _get("Whether events are taken.", JSON, {"200": "They are.", "503": "They are not."}),
            },
            "/metrics": {"get": _get("Counts, for Prometheus.", "text/plain", {"200": "All of them."})},
            "/openapi.json": {"get": _get("This description.", JSON, {"200": "This description."})},
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "webhook": {"type": "apiKey", "in": "query", "name": "webhook"},
            },
        },
    }


def _post() -> dict[str, Any]:
    answer = {JSON: {"schema": {"$ref": _ref("Answer")}}}
    either = {JSON: {"schema": {"anyOf": [{"$ref": _ref("Answer")}, {"$ref": _ref("Problem")}]}}}
    problem = {JSON: {"schema": {"$ref": _ref("Problem")}}}
    retry = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    refusals = {
        status: {"description": told, "content": problem} | ({"headers": retry} if status in ("429", "503") else {})
        for status, told in _REFUSALS.items()
    }
    return {
        "summary": "Sends events.",
        "description": "With `Content-Encoding: gzip` if need be. Sending the same again changes nothing.",
        "security": [{"bearer": []}, {"webhook": []}],
        "requestBody": {
            "required": True,
            "content": {
                NDJSON: {"schema": {"type": "string", "description": "One `Line` a line."}},
                JSON: {"schema": {"$ref": _ref("Line")}},
            },
        },
        "responses": {
            "202": {"description": "What was accepted is durable.", "content": answer},
            "400": {"description": "No line is an event, or the body cannot be read.", "content": either},
            **refusals,
        },
    }


def _get(summary: str, media: str, responses: dict[str, str]) -> dict[str, Any]:
    content = {media: {"schema": {"type": "object" if media == JSON else "string"}}}
    return {
        "summary": summary,
        "responses": {status: {"description": told, "content": content} for status, told in responses.items()},
    }


def _ref(name: str) -> str:
    return f"#/components/schemas/{name}"
