"""Tests of what is said when Ray takes the search down with it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from search.resources.ray_again import ROOT

LINES = (
    "import os",
    "from search.resources.ray_again import last_words",
    "with last_words('farewell'):",
)


@pytest.mark.parametrize(
    ("how", "said"),
    [("pass", ""), ("os._exit(1)", "farewell\n"), ("os.kill(os.getpid(), 9)", "farewell\n")],
)
def test_only_a_process_that_dies_has_last_words(how: str, said: str) -> None:
    command = [sys.executable, "-c", "\n".join((*LINES, f"    {how}"))]
    ended = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=300)
    assert ended.stderr == said
