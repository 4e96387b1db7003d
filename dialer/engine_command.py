"""`dialer engine`: an engine as a service, for every campaign that is wanted on its node."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dialer import event_loop, log
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
    @click.option("--node", "names", multiple=True, help="A node to dial through; again for more. Default: all.")
    @click.option("--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file.")
    @click.option("--json", "as_json", is_flag=True, help="Progress on stderr as JSON.")
    def engine(names: tuple[str, ...], settings_path: Path | None, as_json: bool) -> None:
        """Dial for every campaign that is wanted on the nodes, until told to stop; `dialer run` hands its own over.

        Engines on several nodes share a campaign: none of its limits is passed by all of them together. Another one for
        the same node waits, and takes over when the first dies. TERM or Ctrl-C drains and leaves the campaigns for the
        next engine; again leaves at once.

        \b
        Examples:
          dialer engine
          dialer engine --node node-1
        """
        settings_file = settings_module.find_file(settings_path)
        settings = settings_module.load(settings_file)
        nodes = _nodes(settings, names)
        log.to_file(settings.state_dir / "logs" / "dialer.log")
        view = terminal.open_view(sys.stderr, as_json=as_json, monotonic=monotonic)
        database = sync_engine(settings)
        try:
            made = machine(siblings, settings, settings_file, database)
            event_loop.run(serve(made, nodes, view, lambda: check_database(database, settings)))
        except Left:
            sys.exit(STOPPED)
        finally:
            view.close()
            database.dispose()

    return engine


def _nodes(settings: Settings, names: tuple[str, ...]) -> list[NodeSettings]:
    known = {node.name: node for node in settings.nodes}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidInput(f"the settings know no node {unknown[0]!r}; they hold: {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(names or known)]
