from __future__ import annotations

from dataclasses import dataclass

import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from spaces import Adapter, InputError, Training, knob, knobs_of
from spaces.domains import Knob, checked_knobs, contains, describe, parse_domain
from spaces.errors import unknown
from strategies import STRATEGIES

RATE = FloatDistribution(1e-6, 1e-1, log=True)
SHARE = FloatDistribution(0.0, 1.0)
COUNT = IntDistribution(1, 100)
RANK = CategoricalDistribution([1, 2, 4, 8])
WORD = CategoricalDistribution(["cosine", "linear"])

CLASSES = {**STRATEGIES, "training": Training, "adapter": Adapter}


@pytest.mark.parametrize("name", CLASSES)
def test_every_default_lies_in_its_own_domain_and_the_domain_is_plain_data(name: str) -> None:
    for field, (default, domain, *_) in knobs_of(CLASSES[name]).items():
        assert contains(domain, default), field
        assert json_to_distribution(distribution_to_json(domain)) == domain
        assert describe(domain)


def test_a_default_outside_its_domain_is_refused_where_it_is_declared() -> None:
    with pytest.raises(InputError, match=r"the default 5\.0 lies outside FloatDistribution"):

        @dataclass
        class Wrong:
            share: float = knob(5.0, SHARE, "of everything")


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        (SHARE, [0, 0.0, 0.5, 1], [-0.1, 1.1, "0.5", None, True, float("nan"), [0.5]]),
        (COUNT, [1, 100, 7.0], [0, 101, 1.5, False, "1"]),
        (RANK, [1, 8], [3, 8.0, True, "8"]),
        (WORD, ["linear"], ["Linear", 1, None]),
        (FloatDistribution(0.0, 0.3, step=0.1), [0.0, 0.1, 0.2, 0.3], [0.05, 0.15, 0.31]),
        (IntDistribution(2, 10, step=4), [2, 6, 10], [3, 4, 12]),
    ],
)
def test_a_domain_contains_its_own_values_and_no_other_types(domain, inside, outside) -> None:
    assert [value for value in inside if not contains(domain, value)] == []
    assert [value for value in outside if contains(domain, value)] == []


def a_knob(domain, off: float | None = None) -> Knob:
    return Knob(0, domain, "", True, off)


@pytest.mark.parametrize(
    ("spec", "like", "domain"),
    [
        ({"low": 0.1, "high": 0.2}, SHARE, FloatDistribution(0.1, 0.2)),
        ({"low": 0.1}, SHARE, FloatDistribution(0.1, 1.0)),
        ({"low": 1e-4, "high": 1e-2}, RATE, FloatDistribution(1e-4, 1e-2, log=True)),
        ({"low": 1e-4, "high": 1e-2, "log": False}, RATE, FloatDistribution(1e-4, 1e-2)),
        ({"high": 0.5, "step": 0.1}, SHARE, FloatDistribution(0.0, 0.5, step=0.1)),
        ({"low": 2, "high": 8, "step": 2}, COUNT, IntDistribution(2, 8, step=2)),
        ({"low": 2, "high": 64, "log": True}, COUNT, IntDistribution(2, 64, log=True)),
        ([2, 8], RANK, CategoricalDistribution([2, 8])),
        ([0.1, 0.5], SHARE, CategoricalDistribution([0.1, 0.5])),
        (0.5, SHARE, 0.5),
        (4, RANK, 4),
        ("linear", WORD, "linear"),
    ],
)
def test_a_domain_of_a_plan_file_is_a_part_of_the_knobs_domain(spec, like, domain) -> None:
    parsed = parse_domain("part.knob", spec, a_knob(like))
    assert parsed == domain
    assert type(parsed) is type(domain)


@pytest.mark.parametrize(
    ("spec", "like", "message"),
    [
        ({"low": 0.2, "high": 0.1}, SHARE, "low must be less than high, got low=0.2, high=0.1"),
        ({"low": 0.2, "high": 0.2}, SHARE, "low must be less than high.*fixed value.*alone"),
        ({"lo": 0.2}, SHARE, 'unknown key of the domain part.knob "lo".*did you mean "low"'),
        ({"low": -1, "high": 0.5}, SHARE, r"low must lie in \[0, 1\], got -1"),
        ({"low": 0.5, "high": 2}, SHARE, r"high must lie in \[0, 1\], got 2"),
        ({"low": "0.1"}, SHARE, "low must be a number, got '0.1'"),
        ({"high": True}, SHARE, "high must be a number, got True"),
        ({"low": 1.5, "high": 7}, COUNT, "low must lie in"),
        ({"low": 0.0, "high": 0.5, "log": True}, SHARE, "part.knob: "),
        ({"low": 0.1, "high": 0.5, "log": True, "step": 0.1}, SHARE, "part.knob: "),
        ({"step": 0}, SHARE, "part.knob: step must be more than 0, got 0"),
        ({"step": -0.1}, SHARE, "part.knob: step must be more than 0, got -0.1"),
        ({"step": "a"}, SHARE, "part.knob: step must be more than 0, got 'a'"),
        ({"low": 2, "high": 8, "step": 0.5}, COUNT, "part.knob: step must be a whole number"),
        ({"log": "yes"}, SHARE, "part.knob: log must be true or false, got 'yes'"),
        ({"low": 1, "high": 4}, RANK, r"has the choices \[1, 2, 4, 8\]: give a list"),
        ([], SHARE, "choices must lie in"),
        ([0.1, 3.0], SHARE, r"choices must lie in \[0, 1\], got \[3.0\]"),
        ([2, 3], RANK, r"choices must lie in \{1, 2, 4, 8\}, got \[3\]"),
        (3, RANK, r"part.knob must lie in \{1, 2, 4, 8\}, got 3"),
        (None, SHARE, "must lie in .* got nothing"),
        ("0.5", SHARE, "must lie in .* got '0.5'"),
    ],
)
def test_a_wrong_domain_is_an_input_error_that_names_the_knob(spec, like, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        parse_domain("part.knob", spec, a_knob(like))
    assert "part.knob" in str(error.value)


def test_an_unknown_name_is_reported_with_the_known_and_the_nearest_names() -> None:
    assert str(unknown("fruit", "aple", ["pear", "apple"])) == (
        'unknown fruit "aple"; known: apple, pear — did you mean "apple"?'
    )
    assert "did you mean" not in str(unknown("fruit", "xyz", ["pear", "apple"]))


def test_knobs_are_checked_by_name_and_value() -> None:
    checked = checked_knobs(Training, {"epochs": 3.0, "clip": 1, "schedule": "linear"}, "training")
    assert checked == {"epochs": 3, "clip": 1.0, "schedule": "linear"}
    assert [type(value) for value in checked.values()] == [int, float, str]
    with pytest.raises(InputError, match=r'unknown knob of training "epoch".*"epochs"'):
        checked_knobs(Training, {"epoch": 3}, "training")
    with pytest.raises(InputError, match=r"training.epochs must lie in \[1, 100\], got 0"):
        checked_knobs(Training, {"epochs": 0}, "training")


def test_a_value_that_switches_off_lies_outside_the_domain_and_may_be_fixed_or_listed() -> None:
    known = a_knob(RATE, off=0.0)
    assert parse_domain("part.knob", 0, known) == 0.0
    assert parse_domain("part.knob", [0.0, 1e-3], known) == CategoricalDistribution([0.0, 1e-3])
    assert known.describe().endswith("or 0 (off)")
    with pytest.raises(InputError, match=r"part.knob must lie in .* or 0 \(off\), got 2"):
        parse_domain("part.knob", 2, known)
    with pytest.raises(InputError, match="low must lie in"):
        parse_domain("part.knob", {"low": 0.0}, known)
