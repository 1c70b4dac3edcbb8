"""Answers that are longer than a task's max_new_tokens: said, or refused where nothing could be won."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small import row, rows, write_rows

from search.resources import answer_lengths
from search.resources.answer_lengths import answer_notes
from spaces import InputError
from tasks import Task

LONG = "one two three four five six"


class Words:
    """A tokenizer that makes a token of each word."""

    def __call__(self, texts: Any, add_special_tokens: bool = True) -> dict[str, Any]:
        if isinstance(texts, str):
            return {"input_ids": texts.split()}
        return {"input_ids": [text.split() for text in texts]}

    def decode(self, ids: list[str]) -> str:
        return " ".join(ids)


def task(folder: Path, validation: list[dict[str, Any]], metric: str = "exact_match") -> Task:
    for split, some in (("train", rows(4)), ("validation", validation), ("test", rows(4))):
        write_rows(folder / f"{split}.parquet", some)
    files = {s: (folder / f"{s}.parquet",) for s in ("train", "validation", "test")}
    return Task("t", metric, 4, False, "", files)


def test_answers_that_fit_are_not_mentioned(tmp_path: Path) -> None:
    assert not answer_notes(Words(), task(tmp_path, rows(4)))


def test_some_long_answers_are_said_with_a_number_that_would_do(tmp_path: Path) -> None:
    some = [*rows(3), row(3, answer=LONG)]
    [note] = answer_notes(Words(), task(tmp_path, some))
    assert note.startswith("t: 1 of 4 validation answers have more tokens than max_new_tokens 4")
    assert "max_new_tokens 6 would" in note


def test_one_short_reference_of_several_is_enough(tmp_path: Path) -> None:
    some = [row(n, answer=LONG, answers=[LONG, "one"]) for n in range(4)]
    assert not answer_notes(Words(), task(tmp_path, some, "vqa_accuracy"))


def test_a_search_that_no_trial_can_win_is_refused(tmp_path: Path) -> None:
    some = [row(n, answer=f"{LONG} {n}") for n in range(4)]
    with pytest.raises(InputError, match=r"4 of 4 validation answers .* cut, each of them scores"):
        answer_notes(Words(), task(tmp_path, some))


def test_long_answers_whose_beginning_scores_are_only_said(tmp_path: Path) -> None:
    some = [row(n, answer=f"{LONG} {n}") for n in range(4)]
    [note] = answer_notes(Words(), task(tmp_path, some, "rouge_l"))
    assert "4 of 4 validation answers" in note


def test_answers_that_are_too_many_to_be_counted_are_said_to_be_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_lengths, "MOST_TRIED", 3)
    some = [row(n, answer=f"{LONG} {n}") for n in range(4)]
    [note] = answer_notes(Words(), task(tmp_path, some))
    assert note.startswith("t: at least 3 of 4 validation answers have more tokens")
