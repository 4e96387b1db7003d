"""`dialer dialplan`: writes a node's Asterisk configuration."""

from __future__ import annotations

from pathlib import Path

import click

from dialer import settings as settings_file
from dialer.errors import InvalidInput
from dialer.node_files import NodeDirectories
from dialplan.render import SECRETS_FILE, render_node


@click.group()
def dialplan() -> None:
    """The Asterisk configuration of a node."""


@dialplan.command()
@click.option("--settings", type=click.Path(path_type=Path), help="The settings file (see docs/settings.md).")
@click.option("--node", "name", required=True, help="A node of the settings, by its name.")
@click.option("--to", "target", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where to write.")
@click.option(
    "--modules", type=click.Path(path_type=Path), help="Asterisk's module directory, when not Debian's amd64."
)
def render(settings: Path | None, name: str, target: Path, modules: Path | None) -> None:
    """Write every configuration file of a node into a directory.

    The paths inside are those of Debian's asterisk package. The passwords are not written: put them into
    manager-secrets.conf (mode 0600) beside, as docs/lab.md shows.

    Example: dialer dialplan render --node node-1 --to /tmp/node-1
    """
    loaded = settings_file.load(settings)
    known = [node.name for node in loaded.nodes]
    if name not in known:
        raise InvalidInput(f"there is no node {name!r} in the settings; there are: {', '.join(known)}.")
    places = NodeDirectories(modules=modules) if modules else NodeDirectories()
    files = render_node(loaded, loaded.node(name), directories=places)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (target / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"cannot write to {target}: {error.strerror}. Choose a directory of yours with --to."
        ) from error
    click.echo(f"{len(files)} files written to {target}; {SECRETS_FILE} is yours to add", err=True)
