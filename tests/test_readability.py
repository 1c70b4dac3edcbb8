"""The bars of readability; `python -m tests.readability --list` names what is below them."""

from __future__ import annotations

import statistics

import pytest

from tests import readability
from tests.readability import Room


@pytest.fixture(scope="module")
def tree() -> Room:
    return readability.measure(readability.files())


def test_docstrings_open_with_a_verb_or_name_a_thing(tree: Room) -> None:
    assert tree.opened >= readability.LEAST_OPENED, tree.unopened
    assert tree.clause_share <= readability.MOST_CLAUSES, tree.clauses


def test_sentences_are_short(tree: Room) -> None:
    assert tree.long_share <= readability.MOST_LONG, tree.long_sentences


def test_files_and_functions_are_short(tree: Room) -> None:
    assert not tree.long_files
    assert not tree.long_functions
    assert statistics.median(tree.lines) <= readability.MOST_MEDIAN_LINES


def test_no_folder_is_crowded() -> None:
    assert not readability.crowded_folders()


def test_no_import_goes_in_a_circle() -> None:
    assert not readability.import_circle()


@pytest.mark.parametrize(
    ("kind", "text", "opens", "clause"),
    [
        ("function", "Return the key of a stage.", True, False),
        ("function", "The key of a stage.", False, False),
        ("function", "Of a stage's weights.", False, True),
        ("thing", "Key of a stage.", True, False),
        ("thing", "What a stage is.", False, True),
        ("thing", "By task.", False, False),
    ],
)
def test_a_docstring_is_judged_by_its_first_word(
    kind: str, text: str, opens: bool, clause: bool
) -> None:
    room = Room()
    readability.judge(room, "here", kind, text)
    assert (not room.unopened, bool(room.clauses)) == (opens, clause)


def test_a_long_sentence_is_counted_and_code_is_one_word() -> None:
    room = Room()
    readability.judge(room, "here", "thing", "A " + "word " * 25 + "here.")
    readability.judge(room, "here", "thing", "A `" + "word " * 25 + "` here.")
    assert len(room.long_sentences) == 1
