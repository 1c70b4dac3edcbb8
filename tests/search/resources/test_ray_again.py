"""Tests of the line that is printed when Ray ends the search's process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from search.resources.ray_again import ROOT

LINES = (
    "import os",
    "from search.resources.ray_again import print_if_process_dies",
    "with print_if_process_dies('farewell'):",
)


@pytest.mark.parametrize(
    ("how", "said"),
    [("pass", ""), ("os._exit(1)", "farewell\n"), ("os.kill(os.getpid(), 9)", "farewell\n")],
)
def test_the_words_are_printed_only_if_the_process_dies(how: str, said: str) -> None:
    command = [sys.executable, "-c", "\n".join((*LINES, f"    {how}"))]
    ended = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=300)
    assert ended.stderr == said
