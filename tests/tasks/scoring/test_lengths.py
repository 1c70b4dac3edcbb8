"""Common subsequences and edit distances in time: equal to the plain recurrences, on long answers too."""

from __future__ import annotations

import random

from tasks.scoring.answers import score_answers
from tasks.scoring.metrics.edits import distance


def plain_distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        before, row[0] = row[0], i
        for j, candidate in enumerate(other, start=1):
            above = row[j]
            row[j] = min(before + (letter != candidate), above + 1, row[j - 1] + 1)
            before = above
    return row[-1]


def plain_common(one: list[str], other: list[str]) -> int:
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for j, candidate in enumerate(other, start=1):
            above = row[j]
            row[j] = before + 1 if word == candidate else max(above, row[j - 1])
            before = above
    return row[-1]


def test_distances_and_common_words_are_those_of_the_plain_recurrences() -> None:
    draw = random.Random(0)
    for _ in range(600):
        words = [draw.choices("abcd", k=draw.choice([0, 1, 5, 30, 70])) for _ in range(2)]
        one, other = map("".join, words)
        right, most = plain_distance(one, other), draw.choice([0, 2.5, 20])
        assert distance(one, other) == right
        within = distance(one, other, most)
        assert within == right if right <= most else within > most
        common = plain_common(*words)
        (score,) = score_answers("rouge_l", [" ".join(words[0])], [[" ".join(words[1])]])
        precision, recall = (common / max(1, len(some)) for some in words)
        expected = 2.44 * precision * recall / (recall + 1.44 * precision) if common else 0.0
        assert abs(score - expected) < 1e-12


def test_an_answer_of_20000_words_takes_no_time() -> None:
    long = " ".join(map(str, range(20_000)))
    (score,) = score_answers("rouge_l", [long], [[" ".join(map(str, range(2000)))]])
    assert 0 < score < 0.5
    assert distance(long[:20_000], long[5000:25_000]) > 0
