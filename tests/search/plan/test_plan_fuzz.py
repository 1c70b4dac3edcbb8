"""Mutated plans, benchmarks and best.yaml: read as they are, or refused in one line; never a traceback."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from best_values import BEST
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.final.best_record import read_best_record
from search.plan.checks import check_budget, check_settings, searched_strategies
from search.plan.plan_file import named_plan
from search.plan.space import config_space
from spaces import InputError
from spaces.records import Record
from spaces.seals import sealed
from spaces.yaml_files import parse_yaml, read_yaml, truth, write_yaml
from tasks.data.benchmark import read_benchmark_file

PLAN = {
    "benchmark": "mini",
    "model": "llava-aligned",
    "tasks": ["animal", "digit"],
    "orderings": "given+reverse",
    "strategies": ["replay", "ewc"],
    "samples": 3,
    "halving": 2,
    "seed": 1,
    "time_budget": "90m",
    "balanced": False,
    "objectives": ["final_average", "forgetting:min"],
    "training": {"epochs": 2, "learning_rate": 1e-3},
    "adapter": {"rank": 8},
    "space": {"replay.ratio": {"low": 0.1, "high": 0.3, "log": True}, "ewc.decay": [0.5, 1.0]},
}
BENCHMARK = {
    "name": "b",
    "order": ["one", "two"],
    "tasks": {
        "one": {"metric": "exact_match", "max_new_tokens": 3, "closed": True},
        "two": {"metric": "vqa_accuracy", "max_new_tokens": 5, "path": "two"},
    },
}
WORDS = (
    *(
        "no",
        "yes",
        "1e-4",
        "08",
        "010",
        "1:30",
        "2020-01-01",
        ".inf",
        "-.inf",
        ".nan",
        "~",
        "",
        "null",
    ),
    *(
        "1e999",
        "9" * 50,
        "9" * 5000,
        "-1",
        "0",
        "1",
        "2.5",
        "true",
        "'1'",
        "[]",
        "{}",
        "[[1], [1, 2]]",
    ),
    *(
        "&a [*a]",
        "*b",
        "<<: 1",
        "!!python/none",
        "!!int x",
        "\t",
        "\x00",
        "\ud800",
        "\u2028",
        "x" * 100_000,
    ),
    *(
        "a/" * 3000,
        "y" * 300,
        "- a",
        "a: b: c",
        "'",
        '"',
        "{",
        "[" * 2000,
        "? [a]",
        "# c",
        "%",
        "@",
        "`",
    ),
)


def mutate(text: str, seed: int) -> str:
    """Return a text with one to three random changes of lines, values or characters."""
    rng = random.Random(seed)
    lines = text.split("\n")
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        line, word = lines[at], rng.choice(WORDS)
        key, colon, _ = line.partition(":")
        cut = rng.randrange(len(line) + 1)
        changed = {
            0: f"{key}{colon} {word}",
            1: f"{line}\n{line}",
            2: "",
            3: f"  {line}",
            4: line[:cut] + word + line[cut:],
            5: word + colon + line[len(key) + 1 :],
            6: line[:cut],
            7: lines[rng.randrange(len(lines))],
        }
        lines[at] = changed[rng.randrange(8)]
    return "\n".join(lines)


def read_whole_plan(path: Path) -> None:
    """Read a plan as a search does before it looks at model and data; each key must be in it."""
    plan = named_plan(str(path))
    strategies = searched_strategies(plan)
    check_budget(plan)
    check_settings(plan)
    config_space(strategies, {"training": plan.training, "adapter": plan.adapter}, plan.space)
    for name, value in read_yaml(path).items():
        if name not in ("extends", "time_budget", *("model", "benchmark", "data", "text_encoder")):
            kept = getattr(plan, name)
            kept = list(kept) if isinstance(kept, tuple) else kept
            assert kept == value or (value in ("yes", "no", "on", "off") and isinstance(kept, bool))


def read_whole_benchmark(path: Path) -> None:
    """Read a benchmark; each value of the file must be in it as it was written."""
    _, file = read_benchmark_file(path)
    given, kept = read_yaml(path), file.model_dump(exclude_unset=True)
    given.pop("schema", None)
    tasks = given.pop("tasks")
    entries = kept.pop("tasks")
    assert tasks.keys() == entries.keys() and given.keys() == kept.keys()
    for one, other in [(given, kept), *((tasks[name], entries[name]) for name in tasks)]:
        assert one.keys() == other.keys()
        assert all(other[key] in (value, truth(value)) for key, value in one.items())


KINDS: dict[str, tuple[dict, Callable[[Path], object]]] = {
    "plan": (PLAN, read_whole_plan),
    "benchmark": (BENCHMARK, read_whole_benchmark),
    "best": (sealed(BEST), read_best_record),
}


def check_mutants(kind: str, folder: Path, seeds: range) -> tuple[int, int]:
    """Return how many of the mutants were accepted and refused: every one is either."""
    values, read = KINDS[kind]
    text, counts = yaml.safe_dump(values, sort_keys=False), [0, 0]
    path = folder / f"{kind}.yaml"
    for seed in seeds:
        path.write_bytes(mutate(text, seed).encode("utf-8", "surrogatepass"))
        start = time.process_time()
        try:
            read(path)
            counts[0] += 1
        except InputError as error:
            counts[1] += 1
            assert str(error) and "\n" not in str(error) and len(str(error)) < 1000
        assert time.process_time() - start < 5
    assert sum(counts) == len(seeds)
    return counts[0], counts[1]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_mutated_is_accepted(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"{kind}.yaml"
    path.write_text(write_yaml(KINDS[kind][0]))
    KINDS[kind][1](path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutant_is_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    accepted, refused = check_mutants(kind, tmp_path, range(100))
    assert refused and (accepted or kind == "best")  # its seal fits what was not changed alone


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_mutants_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    accepted, refused = check_mutants(kind, tmp_path, range(100, 4100))
    print(f"{kind}: {accepted} accepted, {refused} refused")


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
    | st.sampled_from(
        ["no", "1e-4", "08", "1:30", "2020-01-01", "0x1", "<<", "=", "~", "1_000", ".5"]
    )
)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(VALUES)
def test_what_is_written_is_read_the_same(values: object) -> None:
    assert parse_yaml(write_yaml(values), "it") == values


class Point(Record):
    """Record that drops nothing."""

    EXACT = True
    numbers: tuple[float, ...]
    name: str = ""


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(["numbers", "name", "x"]), VALUES))
def test_an_exact_record_keeps_every_value_or_is_refused(values: dict) -> None:
    try:
        point = Point.from_values({"schema": 1, **values}, "it")
    except InputError as error:
        assert len(str(error)) < 1000
        return
    kept = {"numbers": list(point.numbers), "name": point.name}
    assert all(kept[name] == value for name, value in values.items())
