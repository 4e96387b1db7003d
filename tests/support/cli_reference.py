"""The commands as Markdown, from their help texts: `python -m tests.support.cli_reference > docs/cli.md`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from cli import root


def commands(group: click.Group = root, path: str = "dialer") -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name, in the order of the alphabet."""
    for name, command in sorted(group.commands.items()):
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def runs(command: click.Command) -> bool:
    """Whether it does something by itself; most groups only hold other commands."""
    return not isinstance(command, click.Group) or command.invoke_without_command


def reference() -> str:
    """The page."""
    parts = ["# Commands\n\nGenerated from the help texts; `make docs` writes it anew.\n"]
    for name, command in commands():
        if runs(command):
            context = click.Context(command, info_name=name, terminal_width=100, max_content_width=100)
            parts.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(reference(), end="")
