"""The embedded benchmark's data: sizes, columns, pictures, and no leak between splits."""

from __future__ import annotations

import io
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

MINI = Path(__file__).parents[3] / "tasks" / "mini"
BENCHMARK = yaml.safe_load((MINI / "benchmark.yaml").read_text())
TASKS = (*BENCHMARK["order"], *BENCHMARK["initial"])
FEWEST = {"train": 300, "validation": 100, "test": 150}
# Tasks whose sources come in styles or designs, some of which are kept from training.
BY_STYLE = (
    *("emoji_caption", "sign_meaning", "flag_country", "flag_capital", "flag_continent"),
    *("word", "emoji_kind", "sign_kind"),
)


@cache
def rows(task: str, split: str) -> list[dict[str, Any]]:
    return pq.read_table(MINI / task / f"{split}.parquet").to_pylist()


def images(task: str, split: str) -> set[bytes]:
    return {row["image"]["bytes"] for row in rows(task, split)}


def test_the_benchmark_names_every_task_once() -> None:
    assert len(TASKS) == len(set(TASKS))
    assert set(TASKS) == set(BENCHMARK["tasks"])
    assert {path.parent.name for path in MINI.glob("*/*.parquet")} == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_every_split_has_enough_rows_of_the_right_columns(task: str) -> None:
    for split, fewest in FEWEST.items():
        found = rows(task, split)
        assert len(found) >= fewest
        assert list(found[0]) == ["id", "image", "prompt", "answer", "answers", "style"]
        assert len({row["id"] for row in found}) == len(found)


@pytest.mark.parametrize("task", TASKS)
def test_every_picture_is_a_64_pixel_rgb_png_that_shows_something(task: str) -> None:
    for split in FEWEST:
        for row in rows(task, split):
            with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
                assert (image.format, image.size, image.mode) == ("PNG", (64, 64), "RGB")
                assert numpy.asarray(image).std(axis=(0, 1)).max() > 5


@pytest.mark.parametrize("task", TASKS)
def test_answers_are_short_lower_case_and_not_guessable(task: str) -> None:
    for split in FEWEST:
        answers = Counter(row["answer"] for row in rows(task, split))
        assert all(answer == answer.lower().strip() for answer in answers)
        assert all(answer.isascii() and len(answer.split()) <= 5 for answer in answers)
        assert max(answers.values()) / answers.total() <= 0.51
        assert all(row["answer"] in row["answers"] for row in rows(task, split))


@pytest.mark.parametrize("task", TASKS)
def test_every_tested_answer_of_a_closed_task_is_trained(task: str) -> None:
    if BENCHMARK["tasks"][task]["closed"]:
        trained = {row["answer"] for row in rows(task, "train")}
        for split in ("validation", "test"):
            assert {row["answer"] for row in rows(task, split)} <= trained


@pytest.mark.parametrize("task", TASKS)
def test_no_picture_is_in_two_splits(task: str) -> None:
    train, validation, test = (images(task, split) for split in FEWEST)
    assert not train & validation
    assert not train & test
    assert not validation & test


@pytest.mark.parametrize("task", BY_STYLE)
def test_styles_of_validation_and_test_are_not_trained_on(task: str) -> None:
    train, validation, test = ({row["style"] for row in rows(task, split)} for split in FEWEST)
    assert not train & (validation | test)
    assert not validation & test


def test_no_picture_of_a_test_is_trained_on_in_another_task() -> None:
    trained = set[bytes]().union(*(images(task, "train") for task in TASKS))
    tested = set[bytes]().union(*(images(task, "test") for task in TASKS))
    assert not trained & tested


def test_the_whole_benchmark_is_at_most_25_megabytes() -> None:
    assert sum(path.stat().st_size for path in MINI.glob("*/*.parquet")) <= 25_000_000


def test_the_attribution_names_every_task() -> None:
    table = (MINI / "ATTRIBUTION.md").read_text()
    assert [task for task in TASKS if task not in table] == []
