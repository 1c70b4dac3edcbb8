"""The benchmarks' own arithmetic, and what they say; they themselves run with `make bench`."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import bench
from benchmarks.speed import recorded, small, time_to_best
from benchmarks.speed.measure import Cost, Result, compared, cost_of, exact, in_turns
from tasks import load_benchmark


def test_a_ratio_is_the_median_over_pairs_beside_its_ends() -> None:
    pairs = [(Cost(2.0, 4.0), Cost(1.0, 1.0)), (Cost(9.0, 9.0), Cost(1.0, 1.0))]
    pairs.append((Cost(3.0, 2.0), Cost(1.0, 2.0)))
    found = compared("it", pairs, ">= 3", "times", stages=4)
    assert (found.ratio, found.low, found.high) == (3.0, 2.0, 9.0)
    assert found.met
    assert found.parts["cpu_ratio"] == 4.0
    assert found.parts["wall_seconds"] == [3.0, 1.0]
    assert found.parts["stages"] == 4


@pytest.mark.parametrize(
    ("value", "target", "met"),
    [(1.0, "<= 1.00", True), (1.01, "<= 1.00", False), (3.9, ">= 4", False), (4.0, ">= 4", True)],
)
def test_a_target_is_kept_or_not(value: float, target: str, met: bool) -> None:
    assert exact("it", value, target, "times").met is met


def test_each_side_comes_first_as_often_and_is_warmed_up_before() -> None:
    order: list[str] = []
    pairs = in_turns(lambda: order.append("a"), lambda: order.append("b"), pairs=4)
    assert "".join(order) == "ab" + "abbaabba"
    assert len(pairs) == 4
    assert cost_of(lambda: sum(range(100_000))).cpu >= 0


def test_a_line_of_json_says_everything(capsys: pytest.CaptureFixture[str]) -> None:
    Result("it", 1.23456, 1.0, 2.0, "<= 2", "times", {"list": [1.000001, "x"]}).tell()
    told = json.loads(capsys.readouterr().out)
    assert told["ratio"] == 1.235
    assert told["met"] is True
    assert "cores" in told["machine"]
    assert set(told) >= {"name", "ratio", "low", "high", "target", "met", "unit", "machine"}


def test_the_page_has_a_line_for_each_result_and_says_what_was_missed() -> None:
    one = {"name": "one", "ratio": 1.5, "low": 1.4, "high": 1.6, "target": "<= 2", "met": True}
    more = {
        "unit": "times",
        "machine": "a loom",
        "script": "scoring",
        "parts": {"wall_seconds": [1.0]},
    }
    text = bench.page([one | more, one | more | {"name": "two", "met": False}])
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    assert len(rows) == 2
    assert "| yes |" in rows[0]
    assert "| **no** |" in rows[1]
    assert "a loom" in text
    assert "- one: wall seconds 1" in text


def test_every_script_is_there_and_runs_alone() -> None:
    folder = Path(bench.__file__).parent / "speed"
    for name in bench.SCRIPTS:
        text = (folder / f"{name}.py").read_text()
        assert 'if __name__ == "__main__":' in text, name
        assert f"python -m benchmarks.speed.{name}" in text, name


def test_the_cut_benchmark_has_so_many_examples_and_is_always_the_same(tmp_path: Path) -> None:
    one, two = (small.small(tmp_path / name, 12, 5) for name in "ab")
    assert one.fingerprints == two.fingerprints
    benchmark = load_benchmark(one.benchmark)
    assert benchmark.order == small.TASKS
    for task in benchmark.tasks.values():
        assert [len(task.examples(s)) for s in ("train", "validation", "test")] == [12, 5, 5]
    whole = load_benchmark("mini").tasks["animal"].examples("train")
    assert benchmark.tasks["animal"].examples("train")[11].prompt == whole[11].prompt


# Replayed searches -------------------------------------------------------------------------------


def made_up(count: int = 40) -> list[dict]:
    """Trials of a table: of each strategy some are better, and all share their first stage."""
    trials = []
    for number, strategy in enumerate(recorded.drawn()[:count]):
        score = 0.2 + 0.6 * number / count
        keys = ["first", *(f"{number}-{stage}" for stage in range(1, time_to_best.STAGES))]
        seen = [{"animal": score}] * time_to_best.STAGES
        trials.append({"strategy": strategy, "keys": keys, "seen": seen, "final_average": score})
    return trials


def test_what_is_drawn_lies_in_the_space_and_is_always_the_same() -> None:
    drawn = recorded.drawn()
    assert len(drawn) == recorded.TRIALS >= 300
    assert drawn == recorded.drawn()
    for strategy in drawn[:12]:
        name, knobs = strategy["name"], {k: v for k, v in strategy.items() if k != "name"}
        chosen = recorded.space().config({"strategy": {"name": name, name: knobs}})
        assert chosen.strategy.name == name


def test_a_replay_counts_the_stages_that_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_to_best, "BUDGET", 20)
    table = made_up()
    best = max(trial["final_average"] for trial in table)
    scale = {"animal": 1.0}
    spent, regret = time_to_best.unshared(table, best, scale, 0)
    less, same = time_to_best.shared(table, best, scale, 0)
    assert 0 < less < spent
    assert regret == same
    whole, _ = time_to_best.at_random(table, best, scale, 0)
    assert whole % time_to_best.CONFIGURED == 0
    assert whole <= len(table) * time_to_best.CONFIGURED


def test_a_trial_that_shares_nothing_trains_every_ordering_from_its_start() -> None:
    assert len(time_to_best.COSTS) == time_to_best.STAGES
    assert sum(time_to_best.COSTS) == time_to_best.CONFIGURED


def test_tau_tells_how_a_rung_ranks() -> None:
    table = made_up()
    assert time_to_best.tau(table, {"animal": 1.0}, 5) == pytest.approx(1.0)
    for trial in table:
        trial["final_average"] *= -1
    assert time_to_best.tau(table, {"animal": 1.0}, 5) == pytest.approx(-1.0)
    assert math.isfinite(time_to_best.FIRST_RUNG)


def test_the_page_shows_steps_on_a_gpu_and_leaves_out_what_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = {"shape": "llava-7b", "parts": "projection", "checkpointing": True, "batch": 8}
    line |= {"step_seconds": 0.25, "cached_gain": 1.5, "device": "a loom"}
    known = line | {"flops_utilisation": 0.4, "memory_gb": 17.09}
    unknown = line | {"flops_utilisation": None, "memory_gb": None}
    monkeypatch.setattr(bench, "SHAPES", tmp_path / "shapes.jsonl")
    assert bench.shapes() == []
    bench.SHAPES.write_text(f"{json.dumps(known)}\n{json.dumps(unknown)}\n")
    page = "\n".join(bench.shapes())
    assert "| llava-7b | projection | yes | 8 | 250 ms | 40% | 17.1 GB | 1.50 |" in page
    assert "| llava-7b | projection | yes | 8 | 250 ms | - | - GB | 1.50 |" in page
    assert "one a loom" in page


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param("llava-7b", marks=pytest.mark.long),
        pytest.param("blip-2-2.7b", marks=pytest.mark.slow),
    ],
)
def test_the_shapes_of_real_models_are_measured_in_small(shape: str) -> None:
    flags = ["--shape", shape, "--small", "--batch", "2", "--steps", "1"]
    command = [sys.executable, "-m", "benchmarks.speed.shapes", *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(bench.ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    ways = [(one["parts"], one["checkpointing"]) for one in told]
    parts = ("projection", "connector+lm_lora")
    assert ways == [(part, again) for part in parts for again in (False, True)]
    assert all(one["step_seconds"] > 0 and one["step_teraflops"] > 0 for one in told)
    assert told[0]["step_teraflops"] == told[1]["step_teraflops"] < told[2]["step_teraflops"]
