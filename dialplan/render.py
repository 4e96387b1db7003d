"""Renders the complete Asterisk configuration of a node from the settings: file name to text, always the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import jinja2

from dialer import names
from dialer.node_files import NodeDirectories, NodeSecrets
from dialer.settings import NodeSettings, Settings

TEMPLATES = Path(__file__).parent / "templates"

SECRETS_FILE = "manager-secrets.conf"
"""Included by manager.conf; the only file with secrets in it: mode 0600, of Asterisk's user."""

EMPTY_FILES = ("acl.conf", "ccss.conf", "features.conf", "pjproject.conf", "udptl.conf")
"""Asterisk's core reads these, and logs an error or stops a module when one is missing."""


def render_node(
    settings: Settings, node: NodeSettings, *, directories: NodeDirectories, secrets: NodeSecrets | None = None
) -> dict[str, str]:
    """Every file of the node's configuration directory; the secrets' file only when the secrets are given."""
    words = {
        "settings": settings,
        "node": node,
        "trunks": [trunk for trunk in settings.trunks if trunk.node == node.name],
        "directories": directories,
        "names": names,
        # Without extension: Asterisk takes the file whose codec fits the call.
        "apology": settings.prompts_dir.resolve() / names.APOLOGY_FILE,
        "secrets_file": SECRETS_FILE,
    }
    environment = _environment()
    files = {
        template.removesuffix(".j2"): environment.get_template(template).render(words)
        for template in sorted(environment.list_templates(["j2"]))
    }
    files |= {name: "; Empty: missing, it would be an error in the log.\n" for name in EMPTY_FILES}
    if secrets:
        files[SECRETS_FILE] = render_secrets({names.AMI_USER: secrets.dialer, names.AMI_WATCH_USER: secrets.watch})
    return dict(sorted(files.items()))


def render_secrets(secrets: Mapping[str, str]) -> str:
    """The text of the secrets' file: one template section a manager user, which manager.conf's sections inherit."""
    return "".join(f"[{user}-secret](!)\nsecret = {secret}\n" for user, secret in secrets.items())


def _environment() -> jinja2.Environment:
    # No autoescape: this is no HTML, and every value comes from the validated settings.
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
