"""A stage through a warm lane over the same stage in this process, and what handing it over costs.

    python -m benchmarks.speed.warm_lane

Stages of a second or more: each pair trains the same stage into a new store. What a lane costs beside its
work is taken from empty jobs.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import PAIRS, Cost, compared, in_turns, say
from benchmarks.speed.small import TASKS, config, one_thread, small
from search.resources.cluster import connect
from trainables.lanes.lane import Lane
from trainables.trial import PanelTrial

STAGES, EMPTY = 3, 200


def main() -> None:
    """Measure, and print two lines."""
    import psutil
    import ray

    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made, chosen = small(root / "data"), config()
        connect(2)
        store = root / "stages"
        lane = Lane(made.worker_spec(store), 1, root / "lanes")
        local = made.walk(chosen, store, [TASKS]).runner
        rounds = iter(range(10_000))

        def stages(runner: Any) -> PanelTrial:
            # A seed of its own for each round: nothing of it is in the store yet.
            fingerprints = dataclasses.replace(made.fingerprints, model=f"round {next(rounds)}")
            walk = made.walk(chosen, store, [TASKS[:STAGES]], runner)
            walk = PanelTrial(chosen, walk.panel, fingerprints, walk.store, runner)
            while not walk.finished:
                walk.step()
            return walk

        pairs = in_turns(lambda: stages(lane), lambda: stages(local), PAIRS)
        one = statistics.median(b.wall for _, b in pairs) / STAGES
        say(f"a stage takes {one:.2f} s")
        compared(
            "warm lane", pairs, "<= 1.03", "times the stage in this process", seconds_a_stage=one
        ).tell()

        walk = stages(local)
        empty = dataclasses.replace(
            walk.job(walk.paths[0]), train=False, score=(), to_consolidate=()
        )
        lane.run(empty)
        costs = [
            _cost_of_all(lambda: [lane.run(empty) for _ in range(EMPTY)], psutil) for _ in range(5)
        ]
        cpu = [cost.cpu / EMPTY * 1e3 for cost in costs]
        from benchmarks.speed.measure import Result

        wall = statistics.median(cost.wall / EMPTY * 1e3 for cost in costs)
        Result(
            "orchestration of a stage",
            statistics.median(cpu),
            min(cpu),
            max(cpu),
            "<= 10",
            "ms of processor",
            {"wall_ms": wall, "of": "all processes of Ray, driver and ranks"},
        ).tell()
        lane.close()
        ray.shutdown()


def _cost_of_all(job, psutil) -> Cost:
    """Of all processes that Ray has here, its daemons among them."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    before = {p.pid: sum(p.cpu_times()[:2]) for p in family}
    wall = time.perf_counter()
    job()
    wall = time.perf_counter() - wall
    spent = sum(sum(p.cpu_times()[:2]) - before[p.pid] for p in family if p.is_running())
    return Cost(wall, spent)


if __name__ == "__main__":
    main()
