"""Renders the lab's carrier: an Asterisk whose subscribers behave as the table of numbers says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from dialer.lab.subscribers import Act, Subscriber, load_behaviours
from dialer.node_files import NodeDirectories

TEMPLATES = Path(__file__).parent / "templates"
EMPTY_FILES = ("acl.conf", "amd.conf", "ccss.conf", "features.conf", "pjproject.conf", "udptl.conf")

ALAW_SILENCE = b"\xd5"
"""A sample of silence in G.711 A-law."""


@dataclass(frozen=True, kw_only=True)
class CarrierPlan:
    """Everything that the carrier's configuration is rendered from."""

    directories: NodeDirectories
    address: str
    """Of the loopback; what it listens on and sends audio from."""
    trunks: Mapping[str, int]
    """Trunk name to the UDP port that stands for it."""
    subscribers: Iterable[Subscriber]
    audio_sample: float
    """The share of answered calls (0 to 1) whose first heard audio is noted; listening costs CPU."""
    capture: Path
    """Where the SIP packets go, in pcap format."""
    heard: Path
    """Where keys and first audio go, a JSON object a line."""
    silence: Path
    """A recording of a second of silence, without its extension .alaw."""
    rtp_start: int
    rtp_end: int


def render_carrier(plan: CarrierPlan) -> dict[str, str]:
    """File name to text of the carrier's configuration directory."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    words = vars(plan) | {"behaviours": load_behaviours().values(), "extension": extension}
    files = {
        template.removesuffix(".j2"): environment.get_template(template).render(words)
        for template in environment.list_templates(["j2"])
    }
    return files | dict.fromkeys(EMPTY_FILES, "; Empty: missing, it would be an error in the log.\n")


def extension(subscriber: Subscriber) -> str:
    """The dialplan of one number; only a number that changes its behaviour counts its INVITEs."""
    head = f"exten = {subscriber.number},1,"
    if all(act == subscriber.otherwise for act in subscriber.acts.values()):
        return head + _gosub(subscriber.otherwise)
    count = "DB(invites/${EXTEN})"
    lines = [f"{head}Set({count}=$[0${{{count}}} + 1])"]
    lines += [f" same = n,GotoIf($[${{{count}}} = {nth}]?nth{nth})" for nth in subscriber.acts]
    lines.append(f" same = n,{_gosub(subscriber.otherwise)}")
    lines += [f" same = n(nth{nth}),{_gosub(act)}" for nth, act in subscriber.acts.items()]
    return "\n".join(lines)


def _gosub(act: Act) -> str:
    return f"Gosub({act.behaviour},s,1({','.join(act.args)}))"
