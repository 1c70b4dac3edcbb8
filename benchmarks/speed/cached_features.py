"""Steps a second with what the frozen tower saw kept on disk, against a tower that looks in every step.

    python -m benchmarks.speed.cached_features

The gain is held against Amdahl's limit 1 / (1 - f), f the share of a live step that the tower takes, timed
in the same run. Both sides keep what the processor made, so that the tower alone is compared.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.speed.live import Pixels, encoding_by
from benchmarks.speed.measure import PAIRS, Result, in_turns
from benchmarks.speed.small import MODEL, TASKS, config, one_thread, small
from models.location import model_folder
from search.resources.feature_writer import FeatureWriter
from search.resources.precompute_features import FeatureExtractor
from trainables.lanes.in_process import InProcessRunner
from trainables.rank.batching import batches
from trainables.rank.engine import open_engine
from trainables.rank.features import features_folder
from trainables.rank.loop import Loop
from trainables.stage_job import FeatureCache

STEPS = 50
SHARE = 0.9


def main() -> None:
    """Measure, and print the line."""
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        root, chosen = Path(folder), config()
        made = small(root / "data", STEPS * chosen.training.batch_size)
        seen = FeatureCache(root / "features", made.fingerprints.model, made.fingerprints.tasks)
        loading, worker_spec = chosen.training.loading, made.worker_spec(root / "stages")
        write(seen, worker_spec.benchmark, loading)
        kept = InProcessRunner(dataclasses.replace(worker_spec, features=seen)).worker
        with encoding_by(Pixels):
            live = InProcessRunner(worker_spec).worker
            live.rank_context.adapt(chosen)
        kept.rank_context.adapt(chosen)
        picks = [(TASKS[0], row) for row in range(STEPS * chosen.training.batch_size)]
        plan = batches(picks, chosen.training, 0)
        assert live.rank_context.lmm.tower is not None
        looks = Looks(live.rank_context.lmm.tower)
        losses = {}

        def run(name, worker) -> None:
            torch.manual_seed(0)
            start = worker.rank_context.lmm.initial()
            with open_engine(
                worker.rank_context.lmm, chosen.training, 1, start, len(plan)
            ) as engine:
                losses[name] = Loop(
                    worker.rank_context, engine, chosen, chosen.fresh_strategy()
                ).train(plan, start)

        pairs = in_turns(lambda: run("live", live), lambda: run("kept", kept), PAIRS)
        share = looks.seconds / (len(pairs) + 1) / statistics.median(a.wall for a, _ in pairs)
        limit = 1 / (1 - share)
        gains = [a.wall / b.wall for a, b in pairs]
        apart = max(abs(a - b) for a, b in zip(losses["live"], losses["kept"], strict=True))
        assert apart <= 1e-6, f"the losses must agree, and are {apart} apart"
        Result(
            "cached features",
            statistics.median(gains) / limit,
            min(gains) / limit,
            max(gains) / limit,
            f">= {SHARE}",
            "of Amdahl's limit",
            {"gain": statistics.median(gains), "limit": limit, "tower_share": share}
            | {"losses_apart": apart, "pairs": len(pairs)},
        ).tell()


class Looks:
    """Times the tower of a live model."""

    def __init__(self, tower: torch.nn.Module) -> None:
        self.seconds, self._begun = 0.0, 0.0
        tower.register_forward_pre_hook(self._begin)
        tower.register_forward_hook(self._end)

    def _begin(self, *args: object) -> None:
        self._begun = now()

    def _end(self, *args: object) -> None:
        self.seconds += now() - self._begun


def now() -> float:
    """Return the time once the GPU has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def write(seen: FeatureCache, benchmark: Path | str, loading) -> None:
    """Look at the training examples of the first task, without Ray."""
    import pyarrow as pa

    looker = FeatureExtractor(MODEL, benchmark, loading, 0)
    writer = FeatureWriter(features_folder(seen.root, seen.model, loading), seen)
    size = len(looker.benchmark.tasks[TASKS[0]].examples("train"))
    for first in range(0, size, 8):
        block = {"task": [TASKS[0]], "split": ["train"], "first": [first]}
        writer.add(looker(pa.table(block)))
    writer.publish()
    assert model_folder(MODEL).is_dir()


if __name__ == "__main__":
    main()
