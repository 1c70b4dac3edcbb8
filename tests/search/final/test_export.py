"""`export.py` and `best.yaml` on made-up searches; tests/search/test_search.py has real ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from records import matrix, record, write_run

from search import commands
from search.final.best_record import read_best_record
from search.plan.objectives import TRIAL_METRICS, direction
from search.plan.search_plan import SearchPlan
from spaces import InputError
from spaces.seals import sealed
from trainables.metrics.glossary import GLOSSARY
from trainables.panel import Panel


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the folder of a made-up finished search."""
    return write_run(tmp_path / "run")


def exported(run: Path, *flags: str) -> dict:
    assert commands.export([str(run), *flags]) == 0
    return yaml.safe_load((run / "best.yaml").read_text())


def test_the_best_goes_into_one_file_with_the_code_of_its_strategy(run: Path) -> None:
    best = exported(run)
    assert best["code"] == best["config"]["strategy"]["name"][0]
    assert len(best["matrices"]) == len(best["panel"]["orderings"]) == 2
    assert exported(run, "--trial", "0000")["trial"] == "0000"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": None}, "names no schema, as files of an older citune"),
        ({"schema": 99}, "has schema 99.*a newer citune would read it"),
        ({"seed": "first"}, "must hold a best configuration of schema 2; seed"),
        ({"sede": 0}, 'unknown key "sede" — did you mean "seed"?'),
    ],
)
def test_a_best_yaml_of_another_schema_is_one_clear_error(
    run: Path,
    change: dict[str, Any],
    message: str,
    refused: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = {name: value for name, value in (exported(run) | change).items() if value is not None}
    (run / "best.yaml").write_text(yaml.safe_dump(sealed(values)))
    capsys.readouterr()
    error = refused(str(run / "best.yaml"), command=commands.train, where=False)
    assert re.search(message, error) and str(run / "best.yaml") in error


def test_a_search_of_first_stages_is_trained_on_whole_orderings(tmp_path: Path) -> None:
    """Orderings that begin alike share the matrix of their beginning."""
    whole = (("a", "b", "c", "d"), ("a", "b", "d", "c"), ("c", "d", "a", "b"))
    panel = Panel((whole[0][:2], whole[2][:2]))
    trials = [record("0000", matrices=[matrix(o, 0.8, 0.9) for o in panel.orderings])]
    plan = SearchPlan("default", search_stages=2)
    prints = {"model": "0a", "tasks": dict.fromkeys("abcd", "1b")}
    run = write_run(
        tmp_path / "run", trials, panel, plan=plan, whole_orderings=whole, fingerprints=prints
    )
    best = exported(run)
    assert [tuple(ordering) for ordering in best["panel"]["orderings"]] == [*whole]
    assert [m["tasks"] for m in best["matrices"]] == [["a", "b"], ["a", "b"], ["c", "d"]]
    assert read_best_record(run / "best.yaml").panel.orderings == whole
    for wrong in (best["matrices"][:2], [*best["matrices"][1:], best["matrices"][0]]):
        (run / "best.yaml").write_text(yaml.safe_dump(sealed({**best, "matrices": wrong})))
        with pytest.raises(InputError, match=r"one for each of panel\.orderings"):
            read_best_record(run / "best.yaml")


def test_an_export_names_the_trials_that_are_unfinished(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(run)
    assert "Unfinished" not in capsys.readouterr().out
    under_way = record("0009", knobs={"ratio": 0.1}, state="running")
    under_way.write(run)
    exported(run)
    assert "Unfinished: 0009; " in capsys.readouterr().out


@pytest.mark.parametrize("metric", ["train_seconds", "worst_ordering", "learning_average"])
def test_any_metric_of_the_table_may_choose_the_best(run: Path, metric: str) -> None:
    assert exported(run, "--by", metric)["trial"]


@pytest.mark.parametrize("metric", ["format_compliance", "relative_final", "strategy", "fgt"])
def test_a_name_that_is_not_a_metric_of_the_table_is_refused(
    run: Path, metric: str, refused: Callable[..., str]
) -> None:
    error = refused(str(run), "--by", metric, command=commands.export, where=False)
    assert f'unknown metric of this search "{metric}"' in error


def test_a_place_that_cannot_be_written_is_one_error(run: Path, refused: Callable) -> None:
    error = refused(str(run), "--out", str(run), command=commands.export, where=False)
    assert "--out must be a file that can be written" in error


def test_a_plan_that_lacks_something_is_one_error(run: Path, refused: Callable) -> None:
    plan = json.loads((run / "plan.json").read_text())
    del plan["fingerprints"]
    (run / "plan.json").write_text(json.dumps(sealed(plan)))
    error = refused(str(run), command=commands.export, where=False)
    assert "fingerprints: Field required" in error


def test_every_objective_has_a_direction_of_its_own() -> None:
    assert set(TRIAL_METRICS) <= GLOSSARY.keys()
    assert {name for name in TRIAL_METRICS if direction(name) == "min"} == {
        *("forgetting", "train_seconds", "final_average_std", "stored_bytes", "added_parameters"),
        *("general_drift", "general_kl"),
        *(name for name in TRIAL_METRICS if name.endswith("forgetting")),
    }
    assert SearchPlan("p", objectives=("forgetting", "final_average:min")).directions() == [
        ("forgetting", "min"),
        ("final_average", "min"),
    ]
    with pytest.raises(InputError, match="unknown metric"):
        direction("fgt")
