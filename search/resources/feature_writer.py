"""Writer of precomputed vision features: images first, then the examples that name them."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa

from spaces.files import SPARE_DISK, replacing
from spaces.storage import check_storage
from trainables.rank.feature_seals import example_seal, image_seal
from trainables.rank.features import (
    EXAMPLE_FILE_SCHEMA,
    EXAMPLE_SCHEMA,
    IMAGE_FILE_SCHEMA,
    IMAGE_SCHEMA,
    FeatureFiles,
    examples_file,
)
from trainables.stage_job import FeatureCache

VECTORS = ("image", "read")
"""Columns that name cached tensors: features of the images, and output of a frozen Q-Former."""
COMPUTED_SCHEMA = pa.schema(
    [*EXAMPLE_SCHEMA, *(("task", pa.string()), ("split", pa.string()), ("longest", pa.int64()))]
    + [(f"{key}_{field.name}", field.type) for key in VECTORS for field in IMAGE_SCHEMA]
)
"""Examples of a split, each with the tensors that no earlier example of its block brought."""


class FeatureWriter:
    """Writes computed features to temporary files, and publishes them when they are complete."""

    def __init__(self, folder: Path, cache: FeatureCache, read: bool = False) -> None:
        self.folder, self.cache, self.read = folder, cache, read
        self.known = FeatureFiles(folder)
        self._new: set[str] = set()
        self._rows: dict[Path, list[dict[str, Any]]] = {}
        self._bytes = 0
        self._part = folder / "images" / f".{uuid.uuid4().hex}"
        check_storage(self._part)
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._out = pa.ipc.new_file(str(self._part), IMAGE_FILE_SCHEMA)

    def add(self, table: pa.Table) -> None:
        """Add computed examples, and the tensors among theirs that are new."""
        images = []
        for row in table.to_pylist():
            for key in VECTORS:
                name, has_tensor = row[key], row[f"{key}_features"] is not None
                if has_tensor and name not in self._new and not self.known.has_features(name):
                    self._new.add(name)
                    image = {field: row[f"{key}_{field}"] for field in IMAGE_SCHEMA.names}
                    images.append(image | {"seal": image_seal(*image.values())})
                    self._bytes += len(row[f"{key}_features"])
            task = self.cache.tasks[row["task"]]
            file = examples_file(self.folder, task, row["split"], row["longest"], self.read)
            own = {n: row[n] for n in EXAMPLE_SCHEMA.names}
            self._rows.setdefault(file, []).append(own | {"seal": example_seal(file, own)})
            self._bytes += len(row["inputs"])
        if images:
            self._out.write_batch(pa.RecordBatch.from_pylist(images, IMAGE_FILE_SCHEMA))

    def fits(self, table: pa.Table, factor: float) -> bool:
        """Return whether the disk holds `factor` times what there is with this table."""
        size = (self._bytes + table.nbytes) * factor * SPARE_DISK
        return size - self._bytes < shutil.disk_usage(self._part.parent).free

    def publish(self) -> None:
        """Move all files to their final names: images first, for examples name them."""
        self._out.close()
        if self._new:
            with replacing(self._part.with_name(f"{self._part.name[1:]}.arrow")) as temporary:
                self._part.rename(temporary)
        for file, rows in self._rows.items():
            check_storage(file)
            file.parent.mkdir(parents=True, exist_ok=True)
            ordered = sorted(rows, key=lambda row: row["row"])
            table = pa.Table.from_pylist(ordered, EXAMPLE_FILE_SCHEMA)
            with replacing(file) as temporary, pa.ipc.new_file(str(temporary), table.schema) as out:
                out.write_table(table)

    def discard(self) -> None:
        """Remove the temporary file of images that were not published."""
        self._part.unlink(missing_ok=True)
