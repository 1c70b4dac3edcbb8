"""Features of the frozen vision tower, computed once before the lanes start: with Ray Data, in parallel."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from models.lmm import LMM
from models.loading import IMAGES_PER_CALL
from models.location import folder_family, model_folder
from search.plan.checks import FEATURES
from search.plan.resolved_plan import ResolvedPlan
from search.plan.saved_plan import read_saved_plan, write_saved_plan
from search.resources.feature_writer import COMPUTED_SCHEMA, VECTORS, FeatureWriter
from search.resources.processor_probe import CACHED_SPLITS
from search.resources.rank_memory import MemoryNeeds
from search.results.formatting import format_duration
from spaces.adapter import Adapter
from spaces.loading import Loading
from tasks import load_benchmark
from trainables.rank.data import CACHE_BYTES
from trainables.rank.features import (
    FeatureFiles,
    compute_features,
    examples_file,
    features_folder,
)
from trainables.stage_job import FeatureCache
from trainables.store.leases import hold_lease

PROGRESS_SECONDS = 10.0
"""Seconds between two lines of progress."""
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL = "the disk has no room for cached features: each worker computes its own"
Notify = Callable[[str], None]
"""Function that shows the user a line."""


class FeatureExtractor:
    """Actor of Ray Data: takes blocks of rows, and returns their examples with features."""

    def __init__(
        self,
        model: str | Path,
        benchmark: str | Path,
        loading: Loading,
        token_limit: int,
        read: bool = False,
    ) -> None:
        import torch

        torch.set_num_threads(1)
        self.lmm = LMM(model_folder(model), loading)
        if read:
            self.lmm.adapt(Adapter(parts="projection"), 0)  # which leaves the Q-Former frozen
        if torch.cuda.is_available():
            self.lmm.to("cuda")
        self.benchmark, self.longest = load_benchmark(benchmark), self.lmm.token_limit(token_limit)

    def __call__(self, blocks: pa.Table) -> pa.Table:
        rows = [row for block in blocks.to_pylist() for row in self._computed(**block)]
        return pa.Table.from_pylist(rows, COMPUTED_SCHEMA)

    def _computed(self, task: str, split: str, first: int) -> Iterator[dict[str, Any]]:
        examples = self.benchmark.tasks[task].examples(split)
        rows = range(first, min(first + IMAGES_PER_CALL, len(examples)))
        images, inputs = compute_features(
            self.lmm, [examples[row] for row in rows], rows, self.longest
        )
        tensors = {image["image"]: image for image in images}
        for row in inputs:
            # Among examples with the same images, the first brings their features.
            new = {key: tensors.pop(row[key], {}) for key in VECTORS}
            columns = {f"{key}_{n}": v for key, image in new.items() for n, v in image.items()}
            yield {"task": task, "split": split, "longest": self.longest, **row, **columns}


def precompute_features(resolved: ResolvedPlan, needs: MemoryNeeds, actors: int) -> ResolvedPlan:
    """Return the plan with a filled feature cache, if one is wanted and the disk holds it."""
    if not uses_feature_cache(resolved, needs.features):
        return resolved
    root, prints = resolved.run.parent / FEATURES, resolved.fingerprints
    cache = FeatureCache(root, prints.model, prints.tasks)
    start = time.monotonic()
    if not fill_cache(resolved, cache, needs.probe.limit, actors):
        return resolved
    plan = read_saved_plan(resolved.run)
    if not plan.precompute_seconds:
        # Seconds of all actors together: the report subtracts them from the time that the cache saves.
        update = {"precompute_seconds": (time.monotonic() - start) * actors}
        write_saved_plan(resolved.run, plan.model_copy(update=update))
    return resolved.with_worker(features=cache)


def uses_feature_cache(resolved: ResolvedPlan, size: float) -> bool:
    """Return whether features of `size` bytes go to disk: by request, or where memory is too small."""
    if all(adapter.trains("vision_lora") for adapter in resolved.space.adapters()):
        return False
    where = resolved.plan.features
    return where == "disk" or (where == "auto" and size > CACHE_BYTES)


def caches_qformer(resolved: ResolvedPlan) -> bool:
    """Return whether some configurations leave a Q-Former frozen, so that its output is cached, too."""
    trained = ("connector", "qformer", "vision_lora")
    family = folder_family(model_folder(resolved.worker_spec.model))
    adapters = resolved.space.adapters()
    return bool(family.qformer) and any(not adapter.trains(*trained) for adapter in adapters)


def fill_cache(
    resolved: ResolvedPlan,
    cache: FeatureCache,
    token_limit: int,
    actors: int,
    notify: Notify = print,
) -> bool:
    """Compute the features that the cache lacks; return whether the disk held them.

    Ray must be running. A split is published as a whole or not at all; a search that is interrupted
    meanwhile computes it anew.
    """
    folder = features_folder(cache.root, cache.model, resolved.finetune.training.loading)
    if not _missing_splits(resolved, folder, token_limit):
        return True
    try:
        with hold_lease(folder / "computing"):  # of two searches that begin at once, one computes
            return _fill(resolved, cache, folder, token_limit, actors, notify)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        notify(DISK_FULL)
        return False


def _fill(
    resolved: ResolvedPlan,
    cache: FeatureCache,
    folder: Path,
    token_limit: int,
    actors: int,
    notify: Notify,
) -> bool:
    missing = _missing_splits(resolved, folder, token_limit)
    if not missing:
        return True
    sizes = {(task, split): _size(resolved, task, split) for task, split in missing}
    blocks = [
        {"task": task, "split": split, "first": first}
        for (task, split), size in sizes.items()
        for first in range(0, size, IMAGES_PER_CALL)
    ]
    writer = FeatureWriter(folder, cache, caches_qformer(resolved))
    done, total, start = 0, sum(sizes.values()), time.monotonic()
    shown = start
    notify(f"computing vision features of {total} examples, {actors} at once")
    try:
        for table in _computed_tables(resolved, blocks, actors):
            done += len(table)
            if not writer.fits(table, total / done):
                notify(DISK_FULL)
                return False
            writer.add(table)
            if time.monotonic() - shown > PROGRESS_SECONDS:
                shown = time.monotonic()
                left = format_duration((shown - start) * (total - done) / done)
                notify(f"features of {done} of {total} examples, about {left} left")
        writer.publish()
        return True
    finally:
        writer.discard()


def _computed_tables(
    resolved: ResolvedPlan, blocks: list[dict[str, Any]], actors: int
) -> Iterator[pa.Table]:
    """Yield the examples with their features, in any order."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    spec, training = resolved.worker_spec, resolved.finetune.training
    model = (spec.model, spec.benchmark, training.loading, training.longest)
    rows = ray.data.from_items(blocks, override_num_blocks=min(len(blocks), 4 * actors))
    computed = rows.map_batches(
        FeatureExtractor,  # type: ignore[arg-type]
        fn_constructor_args=(*model, caches_qformer(resolved)),
        batch_format="pyarrow",
        batch_size=1,
        concurrency=actors,
        num_gpus=spec.gpus or None,
    )
    yield from computed.iter_batches(batch_format="pyarrow", batch_size=None)  # type: ignore[misc]


def _size(resolved: ResolvedPlan, task: str, split: str) -> int:
    return len(resolved.benchmark.task(task).examples(split))


def _missing_splits(
    resolved: ResolvedPlan, folder: Path, token_limit: int
) -> list[tuple[str, str]]:
    """Return the splits whose features are not on disk yet."""
    # Where no Q-Former's output is needed, a file that has it will do.
    reads = (True,) if caches_qformer(resolved) else (True, False)
    prints, files = resolved.fingerprints.tasks, FeatureFiles(folder)
    return [
        (task, split)
        for task in resolved.tasks
        for split in CACHED_SPLITS
        if (split != "train" or task not in resolved.panel.general)
        and not any(
            files.complete(file, _size(resolved, task, split))
            for read in reads
            if (file := examples_file(folder, prints[task], split, token_limit, read)).exists()
        )
    ]
