"""Record a table of real trials: configurations x orderings x seeds on the embedded benchmark.

    python -m benchmarks.calibration.record --work FOLDER [--seeds 0-4] [--lanes 2]

Every configuration is trained on all orderings of three tasks at every seed, by the loop of every search.
Stages are shared through the store below `--work`, so that an interrupted recording goes on. The table,
`benchmarks/calibration/table.json`, holds the validation scores after each stage; it is written again after
each seed that is whole. `replay.py` replays searches and confirmations on it.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.calibration.table import TABLE
from benchmarks.claims.runs import Job, run_jobs
from search.plan.presets import default
from search.plan.resolve import resolve_plan
from search.plan.resolved_plan import ResolvedPlan
from search.plan.space import SHARED, config_space
from spaces.errors import InputError
from spaces.files import write_atomically
from tasks import load_benchmark
from trainables.config import TrialConfig

TASKS = ("animal", "flag_continent", "digit")
RATES, SLOWEST = (2e-3, 4e-3), 1e-3


def main() -> None:
    """Record the seeds asked for, one after the other."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="folder of the store and the results")
    p.add_argument("--seeds", default="0-4", help="first and last seed")
    p.add_argument("--lanes", type=int, default=2, help="processes of one thread each")
    args = p.parse_args()
    first, last = map(int, args.seeds.split("-"))
    for seed in range(first, last + 1):
        jobs = list(jobs_of(seed, args.work))
        print(f"seed {seed}", flush=True)
        run_jobs(jobs, args.lanes)
        write_table(args.work)


def configurations() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a name and a configuration for each row of the table; the last ones are joint tuning."""
    slow, plain = RATES
    for rate, rank in ((SLOWEST, 8), (slow, 8), (plain, 8), (plain, 32)):
        yield _named({"name": "finetune"}, rate, rank)
    for ratio, rate in itertools.product((0.03, 0.1, 0.3), RATES):
        yield _named({"name": "replay", "ratio": ratio}, rate)
    for strength, rate in itertools.product((1e3, 1e4, 1e5), RATES):
        yield _named({"name": "ewc", "strength": strength}, rate)
    for ratio, strength in itertools.product((0.1, 0.3), (1e3, 1e4)):
        both = {"name": "replay+ewc", "replay_ratio": ratio, "ewc_strength": strength}
        yield _named(both, plain)
    for threshold, rate in itertools.product((0.5, 1.0), RATES):
        yield _named({"name": "eproj", "threshold": threshold}, rate)
    for rate, rank in itertools.product(RATES, (8, 32)):
        yield _named({"name": "joint"}, rate, rank)


def _named(strategy: dict[str, Any], rate: float, rank: int = 8) -> tuple[str, dict[str, Any]]:
    """Return the name and the configuration of a strategy under the default plan's fixed knobs."""
    plan, name = default(), strategy["name"]
    knobs = [f"{value:g}" for knob, value in strategy.items() if knob != "name"]
    training = {**plan.training, "learning_rate": rate}
    space = config_space((name,), {"training": training, "adapter": {"rank": rank}}, plan.space)
    values = space.fixed | {"strategy": {**space.fixed[name], **strategy}}
    config = TrialConfig.from_dict({part: values[part] for part in ("strategy", *SHARED)})
    return "-".join([name, *knobs, f"{rate:g}", f"r{rank}"]), config.to_dict()


def resolved(work: Path) -> ResolvedPlan:
    """Return the plan whose model, data and panel all trials share."""
    plan = dataclasses.replace(default(), tasks=TASKS, orderings="all")
    return resolve_plan(plan, "table", work, resume=True)


def jobs_of(seed: int, work: Path) -> Iterator[Job]:
    """Yield the jobs of a seed, those of the strategies that share first stages next to each other."""
    plan = resolved(work)
    for name, config in configurations():
        orderings = plan.panel.orderings[:1] if "joint" in name else plan.panel.orderings
        yield Job(
            preset="table",
            name=name,
            config=config,
            panels=tuple(dataclasses.replace(plan.panel, orderings=(o,)) for o in orderings),
            worker_spec=plan.worker_spec,
            fingerprints=dataclasses.replace(plan.fingerprints, seed=seed),
            folder=work / "results",
        )


def write_table(work: Path) -> None:
    """Write the table of all seeds that are whole."""
    rows = [row for file in sorted((work / "results").glob("*.json")) for row in _rows(file)]
    count = len(list(configurations()))
    seeds = sorted({row["seed"] for row in rows})
    whole = [s for s in seeds if len({r["name"] for r in rows if r["seed"] == s}) == count]
    kept = [row for row in rows if row["seed"] in whole]
    lines = ",\n".join(json.dumps(row) for row in kept)
    benchmark = load_benchmark(default().benchmark)
    examples = {task: len(benchmark.task(task).examples("validation")) for task in TASKS}
    write_atomically(TABLE, f'{{"examples": {json.dumps(examples)}, "rows": [\n{lines}\n]}}\n')
    print(f"{TABLE.name}: {len(kept)} rows of seeds {whole}", flush=True)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    result = json.loads(file.read_text())
    strategy = result["config"]["strategy"]["name"]
    about = {"name": result["name"], "strategy": strategy, "seed": result["seed"]}
    for one in result["orderings"]:
        scores = [_rounded(row) for row in one["scores"]["values"]]
        seconds = round(one["metrics"]["train_seconds"], 2)
        yield {**about, "ordering": one["ordering"], "scores": scores, "train_seconds": seconds}
    if not result["orderings"]:
        raise InputError(
            f"{file}: the run diverged, and the table must be whole; leave its knobs out"
        )


def _rounded(row: Sequence[float | None]) -> list[float | None]:
    return [None if score is None else round(score, 6) for score in row]


if __name__ == "__main__":
    main()
