"""Errors that Ray and Tune log: they go to a file, and the search reports them in lines of its own."""

from __future__ import annotations

import logging
from pathlib import Path

from search.resources.ray_start import note_text
from spaces.secrets import masked

LOGGERS = ("ray", "ray.tune", "ray.train", "ray.air")
"""Loggers of Ray that have a handler of their own; the others pass on what they get."""


class RayErrors(logging.Handler):
    """Handler that appends errors with their tracebacks to a log."""

    def __init__(self, log: Path) -> None:
        super().__init__(logging.ERROR)
        self.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
        self.log = log
        self.place = ""
        """Note on where the errors so far are to be read; empty if there are none."""

    def emit(self, record: logging.LogRecord) -> None:
        self.place = note_text(self.log, masked(self.format(record)) + "\n")


def send_errors_to(log: Path) -> RayErrors:
    """Send what Ray logs to `log` instead of the terminal, from now to the end of this process.

    Ray has connected. It logs a worker's error when nobody can read it any more, which may be as late as
    at the exit.
    """
    handler = RayErrors(log)
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
    return handler
