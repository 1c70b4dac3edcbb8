"""Comparison of a search's tables with its trial records, from which they are made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from search.results.run_folder import read_run_folder
from search.results.tables import arrow_tables
from spaces.errors import InputError


def stale_tables(run: Path) -> Iterator[str]:
    """Yield a note for each table that is not the one which the trial records give.

    Records of trials may be younger than the tables, so that this is no damage.
    """
    if not (run / "tables").is_dir():
        return
    try:
        folder = read_run_folder(run)
        if folder.skipped:  # the records are damaged or of another version
            return
        expected = arrow_tables(folder)
    except (InputError, ValueError, KeyError):
        return
    for name, table in expected.items():
        path = run / "tables" / f"{name}.arrow"
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
                same = file.read_all().equals(table)
        except (OSError, ValueError):  # lost or damaged, which is said elsewhere
            continue
        if not same:
            yield f"{path} is not the table of the trial records: search/analyze.py writes it again"
