"""Takes journal and spool away from the Python processes that find this folder on their path (`bench.ledger`)."""

import os

if os.environ.get("DIALER_BENCH_WITHOUT_LEDGER"):
    from dialer.storage import journal, spool

    def _nothing(*_arguments: object) -> None:
        return None

    def _no_room(*_arguments: object) -> None:
        raise OSError("the benchmark keeps no spool")

    journal.Journal.claimed = journal.Journal.ended = _nothing  # type: ignore[method-assign,assignment]
    spool.Archive.append = _nothing  # type: ignore[method-assign,assignment]
    spool.Spool.open = _no_room  # type: ignore[method-assign,assignment]
