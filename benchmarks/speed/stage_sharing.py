"""Trials that share stages over trials that do not, on a panel of four orderings, in one process.

    python -m benchmarks.speed.stage_sharing

The gain in time must be the counted ratio of configured to distinct stages; the matrices must be equal to
the last bit. Without sharing, each ordering of each trial begins with the model as it came. The trials are
those of the default plan's strategies; few examples are scored, for scores are not what is counted. The
stages that are shared are early ones, which score the fewest tasks: the more is scored, and the more a
strategy adds to later stages (as LwF does), the less of the counted ratio is gained; the more it does after
a stage (as EWC's consolidation), the more.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

from benchmarks.speed.measure import Result, in_turns, say
from benchmarks.speed.small import TASKS, config, one_thread, small, walked
from tasks import parse_orderings

CONFIGS = [
    config(),
    *(config({"name": "replay", "ratio": ratio}) for ratio in (0.05, 0.2)),
    *(config({"name": "ewc", "strength": strength}) for strength in (1e3, 1e6)),
]
PAIRS = 5
WITHIN = 0.05


def main() -> None:
    """Measure, and print two lines: the counted ratio, and the gain over it."""
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made = small(root / "data", 64, 8)
        panel = [o.tasks for o in parse_orderings("shared:4", TASKS)]
        runner = made.walk(config(), root / "first", panel).runner
        matrices: dict[str, list] = {}
        distinct: set[str] = set()

        def shared() -> None:
            store = made.walk(config(), root / "shared", panel, runner).store
            runner.worker.rank_context.store = store  # type: ignore[attr-defined]
            walks = [walked(made.walk(c, root / "shared", panel, runner)) for c in CONFIGS]
            distinct.update(stage.key for walk in walks for stage in walk.stages)
            matrices["shared"] = [m for walk in walks for m in walk.matrices()]
            shutil.rmtree(root / "shared")

        def alone() -> None:
            matrices["alone"] = []
            for c in CONFIGS:
                for ordering in panel:
                    walk = made.walk(c, root / "alone", [ordering], runner)
                    runner.worker.rank_context.store = walk.store  # type: ignore[attr-defined]
                    matrices["alone"] += walked(walk).matrices()
                    shutil.rmtree(root / "alone")

        pairs = in_turns(alone, shared, PAIRS)
        assert matrices["alone"] == matrices["shared"], "sharing must not change a bit"
        configured = sum(len(o) for o in panel) * len(CONFIGS)
        counted = configured / len(distinct)
        parts = {"configured": configured, "distinct": len(distinct), "pairs": len(pairs)}
        Result("counted sharing", counted, counted, counted, ">= 1.6", "stages", parts).tell()
        gains = [a.wall / b.wall for a, b in pairs]
        gain = statistics.median(gains)
        say(f"gain {gain:.3f}, counted {counted:.3f}")
        Result(
            "stage sharing",
            gain / counted,
            min(gains) / counted,
            max(gains) / counted,
            f">= {1 - WITHIN}",
            "of the counted ratio",
            parts | {"gain": gain, "counted": counted, "matrices": "equal bit for bit"},
        ).tell()


if __name__ == "__main__":
    main()
