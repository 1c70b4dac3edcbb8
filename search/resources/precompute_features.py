"""The images of a search are looked at once, before its lanes start: with Ray Data, in parallel."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from models.lmm import LMM
from models.loading import IMAGES_PER_CALL
from models.location import folder_family, model_folder
from search.plan.checks import FEATURES
from search.plan.resolved_plan import ResolvedPlan
from search.results.formatting import format_duration
from search.results.run_folder import LOOKED_FILE
from spaces.adapter import Adapter
from spaces.loading import Loading
from tasks import load_benchmark
from trainables.rank.data import CACHE_BYTES
from trainables.rank.features import (
    EXAMPLE_SCHEMA,
    IMAGE_SCHEMA,
    FeatureFiles,
    compute_features,
    examples_file,
    features_folder,
)
from trainables.stage_job import FeatureCache
from trainables.store.leases import hold_lease

SPLITS = ("train", "validation")
"""What a search looks at."""
TOLD_SECONDS = 10.0
FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL = "the disk is too short for what is seen: each worker looks for itself"
SPARE = 1.1
"""The disk must hold so much more than what is to be written."""
VECTORS = ("image", "read")
"""What an example may bring with it: what was seen of its images, and what was read in that."""
Notify = Callable[[str], None]


class FeatureExtractor:
    """An actor of Ray Data: takes blocks of rows, and returns what was seen of them."""

    def __init__(
        self,
        model: str | Path,
        benchmark: str | Path,
        loading: Loading,
        most: int,
        read: bool = False,
    ) -> None:
        import torch

        torch.set_num_threads(1)
        self.lmm = LMM(model_folder(model), loading)
        if read:
            self.lmm.adapt(Adapter(parts="projection"), 0)  # which leaves the Q-Former frozen
        if torch.cuda.is_available():
            self.lmm.to("cuda")
        self.benchmark, self.longest = load_benchmark(benchmark), self.lmm.token_limit(most)

    def __call__(self, blocks: pa.Table) -> pa.Table:
        rows = [row for block in blocks.to_pylist() for row in self._looked(**block)]
        return pa.Table.from_pylist(rows, EXTRACTED)

    def _looked(self, task: str, split: str, first: int) -> Iterator[dict[str, Any]]:
        known = self.benchmark.tasks[task].examples(split)
        rows = range(first, min(first + IMAGES_PER_CALL, len(known)))
        images, inputs = compute_features(
            self.lmm, [known[row] for row in rows], rows, self.longest
        )
        seen = {image["image"]: image for image in images}
        for one in inputs:
            location = {"task": task, "split": split, "longest": self.longest}
            # Of examples with the same images, the first brings what was seen of them.
            new = {key: seen.pop(one[key], {}) for key in VECTORS}
            brought = {f"{key}_{n}": v for key, image in new.items() for n, v in image.items()}
            yield {**location, **one, **brought}


EXTRACTED = pa.schema(
    [*EXAMPLE_SCHEMA, *(("task", pa.string()), ("split", pa.string()), ("longest", pa.int64()))]
    + [(f"{key}_{field.name}", field.type) for key in VECTORS for field in IMAGE_SCHEMA]
)


def precompute_features(resolved: ResolvedPlan, lookers: int) -> ResolvedPlan:
    """The plan with what the frozen tower sees on disk, if that is wanted and the disk holds it."""
    if not cached_on_disk(resolved):
        return resolved
    root = resolved.run.parent / FEATURES
    seen = FeatureCache(root, resolved.fingerprints.model, resolved.fingerprints.tasks)
    begun = time.monotonic()
    if not extract_missing(resolved, seen, lookers):
        return resolved
    # Of all lookers together: what is saved later on is told less this.
    spent = {"seconds": (time.monotonic() - begun) * lookers}
    if not (looked := resolved.run / LOOKED_FILE).exists():
        looked.write_text(json.dumps(spent))
    return dataclasses.replace(
        resolved, worker_spec=dataclasses.replace(resolved.worker_spec, features=seen)
    )


def cached_on_disk(resolved: ResolvedPlan) -> bool:
    """Whether what is seen is to be kept on disk: where asked for, or memory would not hold it."""
    if all(adapter.trains("vision_lora") for adapter in resolved.space.adapters()):
        return False
    kept = resolved.plan.features
    return kept == "disk" or (kept == "auto" and resolved.feature_bytes > CACHE_BYTES)


def reads_qformer(resolved: ResolvedPlan) -> bool:
    """Whether some configurations leave a Q-Former frozen, and it is to read what the tower sees."""
    whole = resolved.space.adapters()
    trained = ("connector", "qformer", "vision_lora")
    family = folder_family(model_folder(resolved.worker_spec.model))
    return bool(family.qformer) and any(not adapter.trains(*trained) for adapter in whole)


def extract_missing(
    resolved: ResolvedPlan, seen: FeatureCache, lookers: int, tell: Notify = print
) -> bool:
    """Have all images looked at that were not yet; returns whether the disk held what was seen.

    Ray must be there. What is written is there as a whole, or not at all; a search that is interrupted
    meanwhile begins with it anew.
    """
    training = resolved.space.reference("finetune").training
    folder = features_folder(seen.root, seen.model, training.loading)
    if not _missing(resolved, folder):
        return True
    try:
        with hold_lease(folder / "looking"):  # of two searches that begin at once, one looks
            return _extract(resolved, seen, folder, lookers, tell)
    except OSError as error:
        if error.errno not in FULL:
            raise
        tell(DISK_FULL)
        return False


def _extract(
    resolved: ResolvedPlan, seen: FeatureCache, folder: Path, lookers: int, tell: Notify
) -> bool:
    training, missing = resolved.space.reference("finetune").training, _missing(resolved, folder)
    if not missing:
        return True
    blocks = [
        {"task": task, "split": split, "first": first}
        for task, split in missing
        for first in range(0, _size(resolved, task, split), IMAGES_PER_CALL)
    ]
    writer = FeatureWriter(folder, seen, reads_qformer(resolved))
    count, begun, told = 0, time.monotonic(), time.monotonic()
    whole = sum(_size(resolved, task, split) for task, split in missing)
    tell(f"looking at the images of {whole} examples, {lookers} at once")
    try:
        for table in _results(resolved, blocks, training.loading, training.longest, lookers):
            count += len(table)
            if not writer.fits(table, whole / count):
                tell(DISK_FULL)
                return False
            writer.add(table)
            if time.monotonic() - told > TOLD_SECONDS:
                told = time.monotonic()
                left = (told - begun) * (whole - count) / count
                tell(f"looked at {count} of {whole}, about {format_duration(left)} left")
        writer.publish()
        return True
    finally:
        writer.discard()


def _results(
    resolved: ResolvedPlan,
    blocks: list[dict[str, Any]],
    loading: Loading,
    longest: int,
    lookers: int,
) -> Iterator[pa.Table]:
    """What the lookers saw, in any order."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    worker_spec = resolved.worker_spec
    made = ray.data.from_items(blocks, override_num_blocks=min(len(blocks), 4 * lookers))
    looked = made.map_batches(
        FeatureExtractor,  # type: ignore[arg-type]
        fn_constructor_args=(
            worker_spec.model,
            worker_spec.benchmark,
            loading,
            longest,
            reads_qformer(resolved),
        ),
        batch_format="pyarrow",
        batch_size=1,
        concurrency=lookers,
        num_gpus=worker_spec.gpus or None,
    )
    yield from looked.iter_batches(batch_format="pyarrow", batch_size=None)  # type: ignore[misc]


class FeatureWriter:
    """Writes what comes in beside its place, and moves it there when it is whole."""

    def __init__(self, folder: Path, seen: FeatureCache, read: bool = False) -> None:
        self.folder, self.seen, self.read = folder, seen, read
        self.known = FeatureFiles(folder)
        self._new: set[str] = set()
        self._rows: dict[Path, list[dict[str, Any]]] = {}
        self._bytes = 0
        self._part = folder / "images" / f".{uuid.uuid4().hex}"
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._out = pa.ipc.new_file(str(self._part), IMAGE_SCHEMA)

    def add(self, table: pa.Table) -> None:
        """Some looked-at examples, with what was seen of images that are new."""
        images = []
        for row in table.to_pylist():
            for key in VECTORS:
                name, brought = row[key], row[f"{key}_features"] is not None
                if brought and name not in self._new and not self.known.has_features(name):
                    self._new.add(name)
                    images.append({field: row[f"{key}_{field}"] for field in IMAGE_SCHEMA.names})
                    self._bytes += len(row[f"{key}_features"])
            task = self.seen.tasks[row["task"]]
            file = examples_file(self.folder, task, row["split"], row["longest"], self.read)
            self._rows.setdefault(file, []).append({n: row[n] for n in EXAMPLE_SCHEMA.names})
            self._bytes += len(row["inputs"])
        if images:
            self._out.write_batch(pa.RecordBatch.from_pylist(images, IMAGE_SCHEMA))

    def fits(self, table: pa.Table, more: float) -> bool:
        """Whether the disk holds `more` times what there is with this table."""
        size = self._bytes + table.nbytes
        return size * more * SPARE - self._bytes < shutil.disk_usage(self._part.parent).free

    def publish(self) -> None:
        """Images first, for examples name them."""
        self._out.close()
        if self._new:
            os.replace(self._part, self._part.with_name(f"{self._part.name[1:]}.arrow"))
        for file, rows in self._rows.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
            table = pa.Table.from_pylist(sorted(rows, key=lambda row: row["row"]), EXAMPLE_SCHEMA)
            with pa.ipc.new_file(str(temporary), EXAMPLE_SCHEMA) as out:
                out.write_table(table)
            os.replace(temporary, file)

    def discard(self) -> None:
        """Forget what was not published."""
        self._part.unlink(missing_ok=True)


def _size(resolved: ResolvedPlan, task: str, split: str) -> int:
    return len(resolved.benchmark.task(task).examples(split))


def _missing(resolved: ResolvedPlan, folder: Path) -> list[tuple[str, str]]:
    """The splits that were not looked at yet."""
    # Where no Q-Former is to read, what one has read will do.
    asked = (True,) if reads_qformer(resolved) else (True, False)
    task_of, limit = resolved.fingerprints.tasks, resolved.processor_probe.limit
    return [
        (task, split)
        for task in resolved.all_tasks
        for split in SPLITS
        if not any(
            examples_file(folder, task_of[task], split, limit, read).exists() for read in asked
        )
    ]
