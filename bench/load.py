"""What a benchmark asks for: the numbers, their behaviour, the campaign, and a lab that holds them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dialer.lab.blueprint import NodeRenderer
from dialer.lab.topology import Topology
from dialer.lab.up import Lab, running
from dialplan.render import render_node

CEILING = 900
"""Calls at once that fill two cores: more, and both sides begin to lose keys."""
FULL_RATE = 250.0
"""New calls a second when the ceiling and the machine should bind: bounds the burst at the start for both alike."""
AMPLE = 220
"""More calls a second than two cores have ever carried: how many numbers a run by time is given."""
QUESTION = "Please press one."


@dataclass(frozen=True, kw_only=True)
class Load:
    """Calls that hear a prompt and press one real key."""

    calls: int
    """Numbers on the list."""
    rate: float = FULL_RATE
    ceiling: int = CEILING
    seconds: float | None = None
    """No new calls after so long; None: until the list is done."""
    press_after_s: float = 4
    timeout_s: int = 5
    """How long a question waits for a key."""
    tries: int = 1
    audio_sample: float = 0.05
    nodes: int = 1
    carriers: int = 1
    max_silent: str = "5%"
    """The campaign pauses itself above this share of silent calls, and the run fails."""

    @property
    def trunks(self) -> tuple[str, ...]:
        """Each node's first."""
        shape = Topology(nodes=self.nodes, carriers=self.carriers)
        return tuple(next(one.name for one in shape.trunks if one.node == node) for node in shape.node_names)

    @property
    def numbers(self) -> list[str]:
        """Valid Polish mobile numbers."""
        return [f"+48501{number:06d}" for number in range(200_000, 200_000 + self.calls)]


def by_time(seconds: float) -> Load:
    """Calls for so long, from a list that does not end before."""
    return Load(calls=int(AMPLE * seconds) + CEILING, seconds=seconds)


def write_campaign(folder: Path, load: Load) -> Path:
    """A campaign of one question; every number once."""
    (folder / "people.csv").write_text("mobile\n" + "\n".join(load.numbers) + "\n", encoding="utf-8")
    stops = ", ".join(f"{name}: stop" for name in ("busy", "no_answer", "congestion", "partial", "no_input", "hung_up"))
    path = folder / "campaign.yaml"
    path.write_text(
        f"campaign: bench\ncontacts: {{from: people.csv, numbers: [mobile]}}\ncalling: {{window: any}}\n"
        f"capacity: {{max_concurrent: {load.ceiling}, calls_per_second: {load.rate}, "
        f"trunks: [{', '.join(load.trunks)}], "
        f'longest_call: 15m, max_silent: "{load.max_silent}", caller_id: "+48221234567"}}\n'
        f"retry: {{attempts: 1, {stops}}}\n"
        f'flow:\n  question:\n    ask: "{QUESTION}"\n    keys: {{1: yes}}\n    tries: {load.tries}\n'
        f"    timeout: {load.timeout_s}s\n",
        encoding="utf-8",
    )
    return path


@contextmanager
def fresh_lab(folder: Path, load: Load, render: NodeRenderer = render_node) -> Iterator[Lab]:
    """A lab whose subscribers answer, and press 1 some seconds later; its nodes allow what the load asks for."""
    table = folder / "numbers.csv"
    rows = "".join(f"{number},*,answers_and_presses,1@{load.press_after_s:g}\n" for number in load.numbers)
    table.write_text("number,nth_invite,behaviour,args\n" + rows, encoding="utf-8")
    with running(
        "bench", render_node=render, numbers=table, audio_sample=load.audio_sample, base=folder / "lab",
        nodes=load.nodes, carriers=load.carriers,
    ) as lab:  # fmt: skip
        text = lab.settings_file.read_text(encoding="utf-8")
        allowed = re.sub(r"(?m)^    max_concurrent: \d+$", f"    max_concurrent: {max(2500, load.ceiling)}", text)
        lab.settings_file.write_text(allowed, encoding="utf-8")
        yield lab
