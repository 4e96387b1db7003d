"""The command `dialer`: a table of contents that wires the packages together and decides nothing."""

from __future__ import annotations

import sys

import click

from agi.commands import agi
from agi.handshake import look
from agi.spawn import workers
from dialer import __version__
from dialer.calendar_command import calendar_command
from dialer.campaign.load import load_campaign
from dialer.capacity_command import capacity_command
from dialer.commands import contacts_group, db, schema, validate
from dialer.control_command import drain, operator, pause, resume, set_, stop
from dialer.dnc_command import dnc_group
from dialer.engine_command import engine_command
from dialer.errors import DialerError, InvalidInput
from dialer.explain_command import explain_command
from dialer.lab.commands import lab_group
from dialer.plan_command import apply_command, plan_command, rollback_command
from dialer.restore_command import restore_reconcile
from dialer.run_command import Siblings, run_command
from dialer.status_command import status_command
from dialer.verify_command import verify
from dialplan.commands import dialplan
from dialplan.render import render_node
from etl.beside import Beside
from etl.collect_commands import collect_group, events_group
from etl.commands import report
from etl.diff_command import diff_command
from etl.night_commands import etl_group
from sounds.build import build
from sounds.commands import prompts_group


@click.group()
@click.version_option(__version__, prog_name="dialer")
def root() -> None:
    """Call people through your own Asterisk servers, ask them questions on the keypad, and report what became of all.

    \b
    To try it on this machine:
      dialer lab up
      dialer run examples/health-check/campaign.yaml --settings var/lab/default/dialer.yaml
    """


SIBLINGS = Siblings(
    build_prompts=lambda loaded, settings, progress: build(loaded.campaign, loaded.base_dir, settings, progress),
    workers=workers,
    look_at_workers=look,
    nightly=lambda settings, settings_file: Beside(settings, settings_file).begin,
)

root.add_command(validate)
root.add_command(schema)
root.add_command(contacts_group)
root.add_command(dnc_group)
root.add_command(db)
root.add_command(run_command(SIBLINGS))
root.add_command(plan_command)
root.add_command(apply_command(SIBLINGS))
root.add_command(rollback_command(SIBLINGS))
root.add_command(status_command)
root.add_command(explain_command)
root.add_command(calendar_command)
root.add_command(capacity_command)
root.add_command(pause)
root.add_command(resume)
root.add_command(drain)
root.add_command(stop)
root.add_command(set_)
root.add_command(engine_command(SIBLINGS))
root.add_command(verify)
root.add_command(restore_reconcile)
root.add_command(prompts_group(load_campaign))
report.add_command(diff_command)
root.add_command(report)
root.add_command(collect_group(operator))
root.add_command(events_group(operator))
root.add_command(etl_group(operator))
root.add_command(agi)
root.add_command(lab_group(render_node))
root.add_command(dialplan)


def main() -> None:
    """Runs a command; a user's own mistake ends in one clear message and its exit code, without a traceback."""
    try:
        # Without standalone mode click hands back the code of `context.exit`.
        sys.exit(root(standalone_mode=False))
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
