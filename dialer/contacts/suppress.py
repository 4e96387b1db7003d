"""What keeps a person from being called though their time has come: do-not-call lists, caps, the least gap.

Pure: the words, and what the rules make of what was found. The claim asks the database (storage.rules); whatever is
unknown or cannot be read means no call (promise 6).
"""

from __future__ import annotations

from enum import Enum


class DncScope(Enum):
    """For whose calls an entry of the do-not-call list holds."""

    SITE = "site"
    """Everybody's here."""
    TENANT = "tenant"
    CAMPAIGN = "campaign"


class DncSource(Enum):
    """How an entry came to be."""

    COMMAND = "command"
    IMPORT = "import"
    CALL = "call"
    """The person asked for it in a call (flow word `opt_out`)."""


class WaitsFor(Enum):
    """The rule that moved a contact's next attempt behind the moment that the retry policy gave."""

    CAP = "cap"
    """So many calls of the number or of the person have been made already."""
    GAP = "gap"
    """The last call of the number or of the person, in any campaign, is too recent."""
    DNC = "dnc"
    """All its numbers are on a list, one of them only until then."""
    CALLBACK = "callback"
    """The person asked to be called then."""
