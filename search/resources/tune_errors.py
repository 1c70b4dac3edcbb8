"""Errors that Ray Tune logs: they go to a file, and the search reports them in lines of its own."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from search.resources.ray_start import note_text
from spaces.secrets import masked

LOGGER = "ray.tune"
"""Logger of Tune, below which its modules log."""


class TuneErrors(logging.Handler):
    """Handler that appends errors with their tracebacks to a log."""

    def __init__(self, log: Path) -> None:
        super().__init__(logging.ERROR)
        self.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
        self.log = log
        self.place = ""
        """Note on where the errors so far are to be read; empty if there are none."""

    def emit(self, record: logging.LogRecord) -> None:
        self.place = note_text(self.log, masked(self.format(record)) + "\n")


@contextlib.contextmanager
def errors_of_tune(log: Path) -> Iterator[TuneErrors]:
    """Send the errors that Tune logs within the block to `log` instead of the terminal."""
    logger, handler = logging.getLogger(LOGGER), TuneErrors(log)
    before, propagate = list(logger.handlers), logger.propagate
    logger.handlers, logger.propagate = [handler], False
    try:
        yield handler
    finally:
        logger.handlers, logger.propagate = before, propagate
