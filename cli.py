"""The command `dialer`: a table of contents that wires the packages together and decides nothing."""

from __future__ import annotations

import sys

import click

from dialer import __doc__ as summary
from dialer.errors import DialerError, InvalidInput
from dialer.lab.commands import lab_group
from dialplan.commands import dialplan
from dialplan.render import render_node


@click.group(help=summary)
def root() -> None:
    """The click root; its help is the package's first sentence."""


root.add_command(lab_group(render_node))
root.add_command(dialplan)


def main() -> None:
    """Runs a command; a user's own mistake ends in one clear message and its exit code, without a traceback."""
    try:
        root(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except DialerError as error:
        click.echo(f"error: {error}", err=True)
        for problem in error.problems if isinstance(error, InvalidInput) else ():
            click.echo(str(problem), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
