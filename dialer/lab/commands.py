"""`dialer lab`: a whole telephone world on this machine, and the record of what happened in it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from dialer.lab import truth as lab_truth
from dialer.lab import up as labs
from dialer.lab.blueprint import NodeRenderer
from dialer.lab.places import DEFAULT_NAME
from dialer.lab.subscribers import DEFAULT_NUMBERS, load_behaviours, load_numbers
from dialer.lab.topology import MOST
from dialer.lab.trouble import SILENT

_NAME = click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which lab; several run side by side.")
_NUMBERS = click.option(
    "--numbers", type=click.Path(path_type=Path, dir_okay=False), default=DEFAULT_NUMBERS,
    help="CSV number,nth_invite,behaviour,args: who does what. Default: the example's numbers.",
)  # fmt: skip


def lab_group(render_node: NodeRenderer) -> click.Group:
    """The `lab` commands; the node's configuration is rendered by `render_node`."""

    @click.group()
    def lab() -> None:
        """A lab on this machine: PostgreSQL, Asterisk nodes, and carriers with subscribers that behave by number."""

    @lab.command()
    @_NAME
    @click.option("--nodes", type=click.IntRange(1, MOST),
                  help="How many Asterisk nodes. Default: as many as the lab has, else 1.")  # fmt: skip
    @click.option("--carriers", type=click.IntRange(1, MOST),
                  help="How many carriers, at most one a node. Default: as many as the lab has, else 1.")  # fmt: skip
    @_NUMBERS
    @click.option("--audio-sample", type=click.FloatRange(0, 1), default=1.0, show_default=True,
                  help="Share of calls whose first audio the carrier listens for; it costs CPU.")  # fmt: skip
    def up(name: str, nodes: int | None, carriers: int | None, numbers: Path, audio_sample: float) -> None:
        """Bring the lab up, or what is missing of it. Prints the path of its settings file.

        The first time, Asterisk is fetched from the Debian archive that apt uses. A running lab takes the
        numbers anew.

        Example: dialer lab up --name demo --nodes 2 --carriers 2 --numbers numbers.csv
        """
        lab = labs.up(
            name, render_node=render_node, nodes=nodes, carriers=carriers, numbers=numbers, audio_sample=audio_sample,
            progress=lambda line: click.echo(line, err=True),
        )  # fmt: skip
        click.echo(lab.settings_file)

    for command in (down, status, numbers, storm, truth):
        lab.add_command(command)
    return lab


@click.command()
@_NAME
def down(name: str) -> None:
    """End every process of the lab and remove its files, also after a crash. Nothing to end is no error.

    Example: dialer lab down --name demo
    """
    there = labs.down(name)
    click.echo(f"lab {name!r} is down" if there else f"there was no lab {name!r}", err=True)


@click.command()
@_NAME
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(name: str, as_json: bool) -> None:
    """Say which parts of the lab run. Exit code 0 when all do, else 1.

    Example: dialer lab status --name demo --json
    """
    found = labs.status(name)
    if as_json:
        click.echo(json.dumps(asdict(found) | {"up": found.up}))
    else:
        for part, runs in found.running.items():
            click.echo(f"{part}: {'running' if runs else 'not running'}")
        click.echo(f"settings: {found.settings_file if found.exists else 'none: the lab is not up'}")
    sys.exit(0 if found.up else 1)


@click.command()
@_NUMBERS
@click.option("--behaviours", is_flag=True, help="Print what each behaviour does instead.")
def numbers(numbers: Path, behaviours: bool) -> None:
    """Check a table of numbers and print it: who does what at which call. Without --numbers, the default table.

    Example: dialer lab numbers --numbers numbers.csv
    """
    if behaviours:
        for behaviour in load_behaviours().values():
            click.echo(f"{behaviour.name} {' '.join(behaviour.args)}".strip() + f"\n    {behaviour.summary}")
        return
    load_numbers(numbers)
    click.echo(numbers.read_text(encoding="utf-8-sig"), nl=False)


@click.command()
@_NAME
@click.argument("trunk")
@click.argument("code")
def storm(name: str, trunk: str, code: str) -> None:
    """Have the carrier refuse every new call on TRUNK with the SIP status CODE, until CODE is `off`.

    CODE `silent`: it takes the calls (100) and says nothing more. Calls in progress are not touched. New numbers
    for the lab end it too.

    Example: dialer lab storm carrier-a 503
    """
    labs.find(name).storm(trunk, None if code == "off" else code)
    said = {"off": "is itself again", SILENT: "says nothing to new calls"}.get(code, f"refuses new calls with {code}")
    click.echo(f"{trunk} {said}", err=True)


@click.command()
@_NAME
@click.option("--csv", "target", required=True, type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
              help="Where to write; - for standard output.")  # fmt: skip
def truth(name: str, target: Path) -> None:
    """Write the carriers' own record: one row a SIP call, also for those refused before any dialplan.

    Example: dialer lab truth --name demo --csv truth.csv
    """
    rows = lab_truth.read_truth(labs.find(name))
    with click.open_file(str(target), "w", encoding="utf-8", atomic=str(target) != "-") as file:
        lab_truth.write_truth_csv(rows, file)
    click.echo(f"{len(rows)} calls", err=True)
