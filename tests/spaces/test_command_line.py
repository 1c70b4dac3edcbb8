"""Flags: a wrong one is one line with what would do."""

from __future__ import annotations

import re

import pytest

from spaces import InputError
from spaces.command_line import Parser, number_flag, read_duration, text_flag, time_flag, whole_flag


def parser() -> Parser:
    p = Parser(prog="it")
    p.add_argument("--samples", type=whole_flag)
    p.add_argument("--gpus-per-worker", type=number_flag)
    p.add_argument("--time-budget", type=time_flag)
    p.add_argument("--name", type=text_flag)
    p.add_argument("--zero", type=whole_flag, choices=(0, 1))
    p.add_argument("--dry-run", action="store_true")
    return p


WRONG = {
    "--sample 3": 'unknown flag "--sample" .* did you mean --samples',
    "--smaples 3": 'unknown flag "--smaples".*--samples',
    "--gpus 1": 'unknown flag "--gpus" .* did you mean --gpus-per-worker',
    "--samples 1 --samples 2": "--samples must be given once, got twice",
    "--samples=1 --name a --samples=1": "--samples must be given once, got twice",
    "--samples": "--samples needs a value",
    "--samples many": "--samples must be a whole number, got 'many'",
    "--samples 1_0": "--samples must be a whole number",
    "--samples 2.5": "--samples must be a whole number",
    f"--samples {'9' * 5000}": "--samples must be a whole number",
    "--gpus-per-worker nan": "--gpus-per-worker must be a number",
    "--gpus-per-worker inf": "--gpus-per-worker must be a number",
    "--name=": "--name needs a value, got an empty text",
    "--time-budget soon": "--time-budget must be a time such as 90m",
    "--zero 7": "--zero must be one of 0, 1, got '?7",
    "--dry-run=1": "--dry-run",
    "stray": "there is no place for 'stray'",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_flag_is_one_line(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        parser().parse_args(line.split())
    said = capsys.readouterr().err.strip()
    assert exit.value.code == 2
    assert said.startswith("error: ") and "\n" not in said and len(said) < 1000
    assert re.search(WRONG[line], said), said


TIMES = {
    "90": 90,
    "45s": 45,
    "90m": 5400,
    "2h": 7200,
    "1.5h": 5400,
    "1h30m": 5400,
    "1h 30m": 5400,
    "2 hours": 7200,
    "1d": 86400,
    "10 min": 600,
}


@pytest.mark.parametrize("text", TIMES)
def test_times_are_read_with_their_unit(text: str) -> None:
    assert read_duration(text) == TIMES[text]


@pytest.mark.parametrize("text", ["", "h", "2x", "1m2h", "1h1h", "-", "1:30", "nan", "9" * 400])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_duration(text)
