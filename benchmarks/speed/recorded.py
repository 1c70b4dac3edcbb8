"""A table of real trials, every stage of each: what searches are replayed on.

    python -m benchmarks.speed.recorded --work FOLDER [--lanes 2]

Configurations are drawn at random from the space below, with a fixed seed, and walked to their ends on a
cut of the embedded benchmark; what is finished is kept in FOLDER. Writes `recorded.json` beside this file:
of each trial its strategy and knobs, the keys of its stages, and the scores after each of them.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import json
import math
import multiprocessing
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.speed.small import TASKS, config, one_thread, small, walked
from search.plan.space import ConfigSpace, config_space
from tasks import parse_orderings
from trainables.store.stage_keys import rank_code

TRIALS, TRAIN, VALIDATION = 320, 64, 48
ORDERINGS = tuple(ordering.tasks for ordering in parse_orderings("shared:4", TASKS))
STRATEGIES = ("replay", "ewc", "mas", "lwf", "der", "a_gem")
DOMAINS: dict[str, Any] = {
    **{f"{n}.ratio": {"low": 0.01, "high": 0.3, "log": True} for n in ("replay", "der", "a_gem")},
    **{f"{n}.strength": {"low": 1e2, "high": 1e7, "log": True} for n in ("ewc", "mas")},
    **{f"{n}.decay": 1.0 for n in ("ewc", "mas")},
    **{f"{n}.importance_examples": 48 for n in ("ewc", "mas")},
    **{f"{n}.importance_batch": 16 for n in ("ewc", "mas")},
    "lwf.strength": {"low": 0.01, "high": 10.0, "log": True},
}
FILE = Path(__file__).parent / "recorded.json"


@functools.cache
def space() -> ConfigSpace:
    """Return the space that is drawn from, and searched in the replays."""
    shared = config()
    fixed = {"training": shared.to_dict()["training"], "adapter": shared.to_dict()["adapter"]}
    return config_space(STRATEGIES, fixed, DOMAINS)


def drawn() -> list[dict[str, Any]]:
    """Return the configurations by the names and values of the space."""
    found, generator = [], random.Random(0)
    for number in range(TRIALS):
        name = STRATEGIES[number % len(STRATEGIES)]
        knobs = {}
        for knob, domain in space().open["strategy"].branches[name].items():
            low, high = (math.log(v) if domain.log else v for v in (domain.low, domain.high))
            value = generator.uniform(low, high)
            knobs[knob] = math.exp(value) if domain.log else value
        found.append({"name": name, **knobs})
    return found


def made(strategy: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Run one trial to its end in this process."""
    one_thread()
    sampled = {
        "name": strategy["name"],
        strategy["name"]: {k: v for k, v in strategy.items() if k != "name"},
    }
    chosen = space().config({"strategy": sampled})
    benchmark = _small(folder)
    walk = walked(benchmark.walk(chosen, folder / "stages", ORDERINGS, _runner(folder)))
    return {
        "strategy": dict(strategy),
        "keys": [stage.key for stage in walk.stages],
        "seen": walk.outcome.seen_scores(),
        "final_average": walk.metrics()["final_average"],
    }


@functools.cache
def _small(folder: Path) -> Any:
    return small(folder / "data" / str(multiprocessing.current_process().pid), TRAIN, VALIDATION)


@functools.cache
def _runner(folder: Path) -> Any:
    return _small(folder).walk(config(), folder / "stages", ORDERINGS).runner


def main() -> None:
    """Make what is missing, and write the table."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--lanes", type=int, default=2)
    args = p.parse_args()
    trials = args.work / f"trials-{TRAIN}-{VALIDATION}-{rank_code()[:12]}"
    trials.mkdir(parents=True, exist_ok=True)
    wanted = {trials / f"{number:04d}.json": strategy for number, strategy in enumerate(drawn())}
    missing = {file: strategy for file, strategy in wanted.items() if not file.exists()}
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(args.lanes, mp_context=context) as pool:
        jobs = {pool.submit(made, s, args.work.resolve()): f for f, s in missing.items()}
        for count, job in enumerate(concurrent.futures.as_completed(jobs), start=1):
            jobs[job].write_text(json.dumps(job.result()))
            print(f"{count} of {len(missing)}", flush=True)
    whole = [json.loads(file.read_text()) for file in wanted]
    whole.append(made({"name": "joint"}, args.work.resolve()))
    FILE.write_text("[\n" + ",\n".join(json.dumps(_short(trial)) for trial in whole) + "\n]\n")
    print(FILE)


def _short(trial: dict[str, Any]) -> dict[str, Any]:
    seen = [{task: round(score, 6) for task, score in row.items()} for row in trial["seen"]]
    return trial | {"keys": [key[:16] for key in trial["keys"]], "seen": seen}


if __name__ == "__main__":
    main()
