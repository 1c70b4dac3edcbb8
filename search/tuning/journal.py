"""Optuna's journal of a search, each line of which carries a seal over itself and the line before it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from search.tuning.run_lease import check_run_lease
from spaces.errors import DamagedError, InputError, first_line
from spaces.files import write_atomically
from spaces.records import parse_json
from spaces.seals import SEAL
from spaces.storage import check_storage
from trainables.trial_record import TRIALS

logger = logging.getLogger(__name__)
STUDY = "citune"
JOURNAL = "optuna.journal"
TAIL_BYTES = 1 << 20
"""Bytes at the end of a journal that hold its last line."""


class SealedJournal(JournalFileBackend):
    """Journal file of one writer; Optuna ignores the field `SEAL` of each of its operations."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append operations with their seals, all or none, while the search is this process's own."""
        check_storage(self._path)
        check_run_lease(self._path.parent)
        size = self._path.stat().st_size
        last, marked = _last_seal(self._path), []
        for log in logs:
            last = _seal(last, log)
            marked.append({**log, SEAL: last})
        try:
            super().append_logs(marked)
        except OSError:  # a full disk
            os.truncate(self._path, size)
            raise


def open_journal(run: Path) -> JournalStorage:
    """Open the journal of a search, or create it."""
    path = run / JOURNAL
    cut_torn_line(path)
    return JournalStorage(SealedJournal(path))


def journal_fault(run: Path) -> str | None:
    """Return why a journal cannot be believed; None for a sound one, or a search without trials."""
    path = run / JOURNAL
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        return first_line(error)
    lines = content.split(b"\n")[:-1]  # a line without an end was torn by a kill, and never counted
    if not lines:
        began = any((run / TRIALS).glob("[0-9]*.json"))
        return "it is empty or gone, and there are trials" if began else None
    last = ""
    for number, line in enumerate(lines, start=1):
        try:
            log = parse_json(line, f"line {number}")
        except DamagedError as error:
            return first_line(error)
        last = _seal(last, log) if isinstance(log, dict) else ""
        if not last or log.get(SEAL) != last:
            return f"line {number} was changed since it was written, or one before it is gone"
    return None


def load_study(run: Path) -> optuna.Study | None:
    """Return the study of a search; None if it has none yet.

    Raises `InputError` for a journal that is damaged.
    """
    path = run / JOURNAL
    fault = journal_fault(run)
    if fault:
        raise InputError(f"{path} must hold the study of a search, but {fault}")
    if not path.is_file() or not path.stat().st_size:
        return None
    try:
        return optuna.load_study(study_name=STUDY, storage=JournalStorage(SealedJournal(path)))
    except (
        KeyError,
        ValueError,
        TypeError,
        AssertionError,
    ) as error:  # Optuna's, for a strange one
        raise InputError(f"{path} must hold the study of a search, got {error!r}") from error


def cut_torn_line(path: Path) -> None:
    """Remove a last line without an end, which a kill left: what follows would be added to it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    if content and not content.endswith(b"\n"):
        logger.warning("the last line of %s was damaged, as a kill leaves it, and was cut", path)
        write_atomically(path, content[: content.rfind(b"\n") + 1])


def _last_seal(path: Path) -> str:
    """Return the seal of a journal's last line; empty for an empty one."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = file.read().splitlines()
    return str(json.loads(lines[-1]).get(SEAL, "")) if lines else ""


def _seal(last: str, log: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in log.items() if name != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{last}{text}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
