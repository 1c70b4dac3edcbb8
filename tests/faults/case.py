"""A case: a small input, the command that reads it, and what must come out."""

from __future__ import annotations

import contextlib
import html
import io
import json
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from search.cli import main as search
from tasks.validate import main as validate

CHECKOUT = Path(__file__).parents[2]
VALIDATE = ("-m", "tasks.validate", "{folder}/{data}", "--html", "{folder}/page.html")
DRY_RUN = (
    *("search/run.py", "--benchmark", "{folder}/tasks.yaml", "--model", "{model}"),
    *("--strategies", "replay", "--orderings", "given", "--samples", "1"),
    *("--storage", "{folder}/storage", "--dry-run"),
)


@dataclass(frozen=True)
class Outcome:
    """The exit status of a command and everything it printed, the words of its page included."""

    status: int
    text: str

    @property
    def last_line(self) -> str:
        """The error, or the line that counts the rows, or else the last one."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        telling = [line for line in lines if re.match(r"error:|\w*Error|rows ", line)]
        return (telling or lines or ["nothing"])[-1]


def run_in(checkout: Path, words: Sequence[str]) -> tuple[int, str]:
    """Run a command of a checkout; return its exit status and all that it printed."""
    threads = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=checkout,
        env={**os.environ, **threads, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, f"{done.stdout}\n{done.stderr}"


def run_here(words: Sequence[str]) -> tuple[int, str]:
    """Run a command of this checkout in this process, which has imported all that it needs."""
    main, flags = (validate, words[2:]) if words[0] == "-m" else (search, words[1:])
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = main(flags)
        except SystemExit as end:
            status = int(end.code or 0)
        except Exception:
            status = 1
            traceback.print_exc()
    return status, said.getvalue()


@dataclass(frozen=True)
class Case:
    """One reported fault."""

    name: str
    write: Callable[[Path], None]
    """Write the input into an empty folder."""
    status: int
    """Right exit status."""
    says: tuple[str, ...]
    """Regular expressions that the output must contain."""
    never: tuple[str, ...] = ()
    """Regular expressions that it must not contain."""
    command: tuple[str, ...] = VALIDATE
    data: str = "train.jsonl"
    model: str = "llava-instructed"
    """Model of a dry run; a relative path lies in the folder."""

    def run(self, folder: Path, checkout: Path | None = None) -> Outcome:
        """Write the input into `folder` and run the command on it: a checkout's, or else here."""
        folder.mkdir(parents=True)
        self.write(folder)
        model = str(folder / self.model) if (folder / self.model).exists() else self.model
        words = [w.format(folder=folder, data=self.data, model=model) for w in self.command]
        status, said = run_here(words) if checkout is None else run_in(checkout, words)
        page = folder / "page.html"
        shown = plain(page.read_text()) if page.exists() else ""
        return Outcome(status, f"{shown}\n{said}")

    def faults(self, outcome: Outcome) -> list[str]:
        """Return what is wrong with an outcome; nothing if it is right."""
        wrong = [] if outcome.status == self.status else [f"exit status {outcome.status}"]
        text = outcome.text
        wrong += [f"does not say {e!r}" for e in self.says if not re.search(e, text, re.S)]
        never = (*self.never, "Traceback")
        return wrong + [f"says {e!r}" for e in never if re.search(e, text, re.S)]


def plain(page: str) -> str:
    """Return the words of an HTML page."""
    body = re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.S)
    return html.unescape(re.sub(r"<[^>]+>", " ", body))


def png(color: str = "red", size: tuple[int, int] = (48, 32)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def write_pictures(folder: Path, number: int) -> None:
    """Write distinct pictures 0.png, 1.png …"""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(number):
        (folder / f"{i}.png").write_bytes(png(f"rgb({i},80,{255 - i})"))


def rows(*written: Mapping[str, Any], pictures: int = 3) -> Callable[[Path], None]:
    """Return a writer of JSON Lines with some pictures beside them."""

    def write(folder: Path) -> None:
        write_pictures(folder, pictures)
        (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in written))

    return write


def text(name: str, content: str, pictures: int = 2) -> Callable[[Path], None]:
    """Return a writer of one file with some pictures beside it."""

    def write(folder: Path) -> None:
        write_pictures(folder, pictures)
        (folder / name).write_text(content)

    return write


TASKS = ("colour", "shape")
SIZES = {"train": 24, "validation": 8, "test": 8}
Change = Callable[[str, int], Mapping[str, Any]]


def write_benchmark(folder: Path, change: Change = lambda split, number: {}, **own: Any) -> None:
    """Write a benchmark of two tasks; `change` gives other values of a row of the first task.

    `own` are other settings of the first task.
    """
    tasks = {name: {"path": name, "metric": "exact_match", "max_new_tokens": 4} for name in TASKS}
    tasks[TASKS[0]] |= own
    (folder / "tasks.yaml").write_text(yaml.safe_dump({"name": "two", "tasks": tasks}))
    for task in TASKS:
        numbers = iter(range(sum(SIZES.values())))
        write_pictures(folder / task, sum(SIZES.values()))
        for split, size in SIZES.items():
            made = [example(split, next(numbers)) for _ in range(size)]
            if task == TASKS[0]:
                made = [row | change(split, number) for number, row in enumerate(made)]
            lines = "".join(json.dumps(row) + "\n" for row in made)
            (folder / task / f"{split}.jsonl").write_text(lines)


def example(split: str, number: int) -> dict[str, Any]:
    question = f"What is the colour of picture {number} of {split}?"
    return {"image": f"{number}.png", "question": question, "answer": ("red", "blue")[number % 2]}
