"""The reports and their columns as Markdown, from the catalogue: `python -m tests.support.report_reference`."""

from __future__ import annotations

from etl.reports.catalogue import ALIASES, REPORTS
from etl.reports.columns import Column, Kind
from etl.reports.model import Period, Report


def reference() -> str:
    """The page."""
    parts = [
        "# Columns of the reports",
        "Generated from the catalogue; `make docs` writes it anew. How to ask for a report stands in "
        "[reports.md](reports.md), what the figures mean in [metrics](metrics/calls.md). Every report begins with "
        "`tenant`, `period_start_local`, `period_end_local` and `tz`.",
        *(_report(report) for report in REPORTS.values()),
    ]
    return "\n\n".join(parts) + "\n"


def _report(report: Report) -> str:
    old = [name for name, new in ALIASES.items() if new == report.name]
    lines = [f"## {report.name}", "", report.says, "", f"It counts {report.basis}. A row covers {report.period.value}."]
    if report.period is Period.WHOLE and not report.measures:
        lines[-1] = f"It counts {report.basis}."
    if old:
        lines[-1] += f" `{old[0]}` is its old name."
    lines += ["", "| Column | Is | |", "| --- | --- | --- |"]
    lines += [_column(column) for column in (*report.keys, *report.columns)]
    if report.answers_by:
        lines.append("| `answer_STEP` | text | one a question of the campaign, with `--campaign` |")
    if report.fields:
        lines.append("| `field_NAME` | text | one a field of its contacts |")
    return "\n".join(lines)


def _column(column: Column) -> str:
    kind = {Kind.NUMBER: column.unit or "number", Kind.CAMPAIGN: "text"}.get(column.kind, column.kind.value)
    formula = ""
    if column.kind is Kind.NUMBER and column.over and column.unit == "%":
        formula = f"{column.of} ÷ {column.over}"
    says = "; ".join(part for part in (formula, column.says) if part)
    return f"| `{column.name}` | {kind} | {says} |"


if __name__ == "__main__":
    print(reference(), end="")
