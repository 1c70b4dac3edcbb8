from __future__ import annotations

import math
from collections import Counter

import pytest

from spaces.errors import InputError
from tasks import TaskOrdering, parse_orderings

TASKS = ("dog", "cat", "ant")
FIVE = tuple("abcde")


def written(spec: str, tasks: tuple[str, ...] = TASKS) -> list[str]:
    return [str(ordering) for ordering in parse_orderings(spec, tasks)]


@pytest.mark.parametrize(
    ("spec", "orderings"),
    [
        ("given", ["dog>cat>ant"]),
        ("reverse", ["ant>cat>dog"]),
        ("alphabetical", ["ant>cat>dog"]),
        ("rotations", ["dog>cat>ant", "cat>ant>dog", "ant>dog>cat"]),
        ("cat>ant>dog", ["cat>ant>dog"]),
        ("cat > ant > dog; ant>cat>dog;", ["cat>ant>dog", "ant>cat>dog"]),
        ("given+reverse", ["dog>cat>ant", "ant>cat>dog"]),
        ("given + reverse+ alphabetical", ["dog>cat>ant", "ant>cat>dog"]),
        ("given+cat>ant>dog;dog>cat>ant", ["dog>cat>ant", "cat>ant>dog"]),
    ],
)
def test_a_specification_names_its_orderings_without_duplicates(
    spec: str, orderings: list[str]
) -> None:
    assert written(spec) == orderings


def test_rotations_put_every_task_once_in_every_position() -> None:
    columns = zip(*parse_orderings("rotations", FIVE), strict=True)
    assert all(set(column) == set(FIVE) for column in columns)


def test_all_is_every_permutation_up_to_seven_tasks() -> None:
    assert len(set(parse_orderings("all", FIVE))) == 120
    with pytest.raises(InputError, match=r"at most 7 tasks .* 8 tasks have 40320; ask for"):
        parse_orderings("all", tuple("abcdefgh"))


def test_random_orderings_differ_are_permutations_and_depend_on_the_seed_alone() -> None:
    orderings = parse_orderings("random:24@5", FIVE[:4])
    assert len(set(orderings)) == 24
    assert all(sorted(ordering) == list("abcd") for ordering in orderings)
    assert parse_orderings("random:3@5", FIVE[:4]) == orderings[:3]
    assert parse_orderings("random:6", FIVE) == parse_orderings("random:6@0", FIVE)
    assert parse_orderings("random:6@1", FIVE) != parse_orderings("random:6@0", FIVE)
    assert len(parse_orderings("random:3", tuple("abcdefghijklmnopqrstuvwxyz"))) == 3


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6])
def test_shared_orderings_differ_and_cover_first_and_last_positions_evenly(length: int) -> None:
    tasks = tuple("abcdef"[:length])
    for count in range(1, min(math.factorial(length), 3 * length) + 1):
        orderings = parse_orderings(f"shared:{count}", tasks)
        assert len(set(orderings)) == count
        assert all(sorted(ordering) == list(tasks) for ordering in orderings)
        firsts = Counter(ordering.tasks[0] for ordering in orderings)
        lasts = Counter({task: 0 for task in tasks})
        lasts.update(ordering.tasks[-1] for ordering in orderings)
        assert max(firsts.values()) - min(firsts.values()) <= 1
        assert max(lasts.values()) - min(lasts.values()) <= 1


def test_shared_orderings_train_fewer_stages_than_random_ones() -> None:
    def stages(spec: str) -> int:
        orderings = parse_orderings(spec, FIVE)
        return len({order.tasks[:end] for order in orderings for end in range(1, 6)})

    for count in (2, 3, 4, 6, 8, 10):
        assert stages(f"shared:{count}") < stages(f"random:{count}")


def test_one_shared_ordering_is_the_given_one() -> None:
    assert written("shared:1") == ["dog>cat>ant"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("givn", 'unknown ordering "givn".*did you mean "given"'),
        ("", "unknown ordering"),
        ("given+", "unknown ordering"),
        ("random", 'did you mean "random:K"'),
        ("random:x", "unknown ordering"),
        ("shared:2@3", "unknown ordering"),
        ("random:7", '"random:7" must ask for 1 to 6 orderings: 3 tasks have 6; got 7'),
        ("shared:7", "1 to 6 orderings"),
        ("random:0", "1 to 6 orderings.*got 0"),
        ("dog>cta>ant", 'unknown task "cta".*did you mean "cat"'),
        ("dog>cat", 'every task once: "dog>cat" omits ant'),
        ("dog", "omits cat, ant"),
        ("dog>cat>ant>dog", "repeats dog"),
        ("dog>cat>dog", "repeats dog and omits ant"),
    ],
)
def test_a_wrong_specification_is_an_input_error(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_orderings(spec, TASKS)


def test_more_orderings_than_a_panel_holds_are_refused() -> None:
    with pytest.raises(InputError, match="8 tasks have 40320, and a panel holds at most 5040"):
        parse_orderings("random:6000", tuple("abcdefgh"))


def test_tasks_must_be_there_and_differ() -> None:
    with pytest.raises(InputError, match="at least one task"):
        parse_orderings("given", ())
    with pytest.raises(InputError, match="tasks must differ"):
        parse_orderings("given", ("a", "a"))


def test_one_task_has_one_ordering_under_every_name() -> None:
    for spec in ("given", "reverse", "rotations", "all", "random:1", "shared:1", "a"):
        assert parse_orderings(spec, ("a",)) == (TaskOrdering(("a",)),)
