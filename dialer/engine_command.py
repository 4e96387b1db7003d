"""`dialer engine`: an engine as a service, for every campaign that is wanted on its node."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from dialer import log
from dialer import settings as settings_module
from dialer.clock import monotonic
from dialer.errors import InvalidInput
from dialer.monitoring import terminal
from dialer.run import Left, serve
from dialer.run_command import STOPPED, Siblings, check_database, machine
from dialer.settings import NodeSettings, Settings
from dialer.storage.session import sync_engine


def engine_command(siblings: Siblings) -> click.Command:
    """The command, with its siblings wired in."""

    @click.command()
    @click.option("--node", "node_name", help="The node to dial through, when the settings hold several.")
    @click.option("--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file.")
    @click.option("--json", "as_json", is_flag=True, help="Progress on stderr as JSON.")
    def engine(node_name: str | None, settings_path: Path | None, as_json: bool) -> None:
        """Dial for every campaign that is wanted on a node, until told to stop; `dialer run` hands its campaigns over.

        A second one waits and takes over when the first dies. TERM or Ctrl-C drains and leaves the campaigns for the
        next engine; again leaves at once.

        Example: dialer engine
        """
        settings_file = settings_module.find_file(settings_path)
        settings = settings_module.load(settings_file)
        node = _node(settings, node_name)
        log.to_file(settings.state_dir / "logs" / "dialer.log")
        view = terminal.open_view(sys.stderr, as_json=as_json, monotonic=monotonic)
        database = sync_engine(settings)
        try:
            made = machine(siblings, settings, settings_file, node, database)
            asyncio.run(serve(made, view, lambda: check_database(database, settings)))
        except Left:
            sys.exit(STOPPED)
        finally:
            view.close()
            database.dispose()

    return engine


def _node(settings: Settings, name: str | None) -> NodeSettings:
    if name is None and len(settings.nodes) == 1:
        return settings.nodes[0]
    found = next((node for node in settings.nodes if node.name == name), None)
    if found is None:
        known = ", ".join(node.name for node in settings.nodes)
        raise InvalidInput(f"name the node to dial through with --node; the settings hold: {known}.")
    return found
