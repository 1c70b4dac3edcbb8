"""General ability of the finalists: scores of tasks that nothing trains, on the test split."""

from __future__ import annotations

from search.confirmation.estimates import mean_interval
from search.confirmation.results import TEST, Confirmation, cell_name
from search.confirmation.sentences import called
from trainables.metrics.glossary import GENERAL_KL, OF_GENERAL

COLUMNS = (*OF_GENERAL, GENERAL_KL)


def general_lines(confirmation: Confirmation) -> list[str]:
    """Return a table of general average, drift and divergence; nothing without general tasks.

    Means and intervals are over each finalist's finished units.
    """
    rows = []
    for finalist in confirmation.plan.finalists:
        names = (cell_name(n, finalist.name, TEST) for n in range(len(confirmation.plan.units)))
        records = [r for n in names if (r := confirmation.records.get(n)) and r.state == "finished"]
        values = [[record.metrics.get(column) for record in records] for column in COLUMNS]
        known = [[v for v in column if v is not None] for column in values]
        if any(known):
            cells = [str(mean_interval(column)) if column else "-" for column in known]
            rows.append(f"{called(finalist):24}" + "".join(f"{c:26}" for c in cells).rstrip())
    if not rows:
        return []
    head = "".join(f"{column.replace('_', ' '):26}" for column in COLUMNS).rstrip()
    return ["", f"{'general tasks, test':24}{head}", *rows]
