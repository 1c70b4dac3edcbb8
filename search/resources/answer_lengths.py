"""Answers that are longer than the model may answer: found before a search that cannot be won."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spaces.errors import InputError
from tasks import AnsweredQuestion, Task, score_split
from tasks.data.rows import read_tables

SCORED_SPLITS = ("validation", "test")
"""Splits that are scored."""
MOST_TRIED = 20_000
"""Answers whose tokens are counted, the longest ones first."""
MOST_SCORED = 256
"""Rows that are scored with their answers cut."""


def answer_notes(tokenizer: Any, task: Task) -> list[str]:
    """Return a note for each scored split in which right answers are longer than `max_new_tokens`.

    Raises `InputError` if all answers of the validation split are longer and score 0 when they are cut: no
    trial could be told from another.
    """
    notes = []
    for split in SCORED_SPLITS:
        prompts, rows = _references(task, split)
        lengths, all_counted = _token_counts(tokenizer, rows, task.max_new_tokens)
        least = [min(lengths.get(text, 0) for text in texts) for texts in rows]
        long = [count for count in least if count > task.max_new_tokens]
        if not long:
            continue
        number = len(long) if all_counted else f"at least {len(long)}"
        said = (
            f"{task.name}: {number} of {len(rows)} {split} answers have more tokens than max_new_tokens "
            f"{task.max_new_tokens}; max_new_tokens {max(long)} would let the model give them whole"
        )
        if (
            split == "validation"
            and len(long) == len(rows)
            and not _best(tokenizer, task, prompts, rows)
        ):
            raise InputError(f"{said}; cut, each of them scores 0")
        notes.append(said)
    return notes


def _references(task: Task, split: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the prompt and the right answers of each row."""
    table = read_tables(task.split_files(split), ("prompt", "answer", "answers"))
    prompts, answer = table.column("prompt").to_pylist(), table.column("answer").to_pylist()
    several = [()] * len(answer)
    if "answers" in table.column_names:
        several = table.column("answers").to_pylist()
    return prompts, [tuple(some or (one,)) for one, some in zip(answer, several, strict=True)]


def _token_counts(
    tokenizer: Any, rows: Sequence[Sequence[str]], most: int
) -> tuple[dict[str, int], bool]:
    """Return the tokens of answers that may have more than `most`, and whether these are all of them.

    A token has a byte at least.
    """
    texts = {text for some in rows for text in some if len(text.encode()) >= most}
    tried = sorted(texts, key=lambda text: (-len(text), text))[:MOST_TRIED]
    if not tried:
        return {}, True
    ids = tokenizer(tried, add_special_tokens=False)["input_ids"]
    counts = {text: len(one) for text, one in zip(tried, ids, strict=True)}
    return counts, len(tried) == len(texts)


def _best(
    tokenizer: Any, task: Task, prompts: Sequence[str], rows: Sequence[Sequence[str]]
) -> float:
    """Return the score of right answers that are cut to `max_new_tokens`."""
    answered = []
    for prompt, texts in zip(prompts[:MOST_SCORED], rows, strict=False):
        ids = tokenizer(texts[0], add_special_tokens=False)["input_ids"][: task.max_new_tokens]
        answered.append(AnsweredQuestion(tokenizer.decode(ids), tuple(texts), prompt))
    return score_split(task.metric, answered).score.value
