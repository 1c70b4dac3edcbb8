"""Tests of the end of a search by a signal."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search import interruption
from search.interruption import InterruptedSearch, signal_behind
from search.run_end import ROOT


def test_a_signal_keeps_its_name_when_ray_forgets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "caught", [])
    assert signal_behind(KeyboardInterrupt()) == signal.SIGINT
    assert signal_behind(InterruptedSearch(signal.SIGHUP)) == signal.SIGHUP
    interruption.caught.append(signal.SIGTERM)
    assert signal_behind(KeyboardInterrupt()) == signal.SIGTERM


def test_a_new_program_ends_a_search_with_the_status_of_its_signal(tmp_path: Path) -> None:
    parts = ("from pathlib import Path", "from search import run_end")
    code = "; ".join((*parts, f"run_end.end_in_new_program(Path({str(tmp_path)!r}), 15)"))
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=300)
    assert ended.returncode == 143
    assert "interrupted by SIGTERM" in ended.stdout
    assert "--resume" in ended.stdout
