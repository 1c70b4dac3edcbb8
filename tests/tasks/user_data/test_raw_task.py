"""Settings of a task of raw data that would change prompts in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small import png

from spaces.errors import InputError
from tasks.data.benchmark_file import TaskEntry
from tasks.user_data.inspection import inspect_file
from tasks.user_data.raw_task import raw_task


def made(folder: Path, row: dict[str, Any] | None = None, **settings: Any) -> str:
    """Make a task of one row and return its template."""
    (folder / "t").mkdir(exist_ok=True)
    (folder / "t" / "0.png").write_bytes(png(3, 48))
    (folder / "t" / "train.jsonl").write_text(json.dumps(row or {"question": "q", "answer": "a"}))
    entry = TaskEntry(metric="exact_match", max_new_tokens=4, **settings)
    return raw_task("here", folder, "t", entry).prompt


@pytest.mark.parametrize(
    "prompt", ["{question}\n{prompt}", "{{prompt}}", "{ prompt }", "{}", "%s {prompt}", "{Prompt}"]
)
def test_marks_of_other_templates_are_refused(prompt: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"prompt must have \{prompt\} where"):
        made(tmp_path, prompt=prompt)


def test_marks_that_mean_themselves_stay_in_a_template(tmp_path: Path) -> None:
    prompt = '{prompt}\nPut it in \\boxed{answer} or \\frac{}, as {"answer": ...}, 100 %.'
    assert made(tmp_path, prompt=prompt) == prompt


def test_a_file_is_named_once_for_a_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train must name a file once"):
        made(tmp_path, train=["train.jsonl", "train.jsonl"])


def test_only_captions_need_no_place_of_their_prompt(tmp_path: Path) -> None:
    made(tmp_path)
    file = tmp_path / "t" / "train.jsonl"
    with pytest.raises(InputError, match=r"prompt must have \{prompt\} in it, for the row's own"):
        inspect_file(file, "train", template="Name it.")
    made(tmp_path, {"image": "0.png", "caption": "A cat."})
    inspection = inspect_file(file, "train", template="Name it.")
    inspection.run(lambda fault: pytest.fail(str(fault)), None)
    assert inspection.accepted == 1
