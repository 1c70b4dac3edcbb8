"""Cached features of the frozen vision tower, in Arrow files that are memory-mapped.

There is a folder for each model, its loading options, and the code and libraries that compute features.
`images/*.arrow` has a row for each distinct set of images. `examples/*.arrow` has a row for each
example of a split, with all that the processor made of it but the pixels.

Each row has a seal, which is checked when a process first reads the row. A damaged file is set aside: each
worker computes its features until the next search writes it again.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from safetensors.torch import load, save

from models.batching import FEATURES, QFORMER, QUERIES, Encoded, encode
from models.lmm import LMM
from spaces.damage import put_aside
from spaces.errors import first_line
from spaces.loading import Loading
from tasks.data.rows import Example
from trainables.rank.feature_seals import example_seal, image_seal, sound_row
from trainables.stage_job import FeatureCache
from trainables.store.code_fingerprint import code_fingerprint
from trainables.store.digest import digest

warnings.filterwarnings("ignore", message="The given buffer is not writable")

IMAGE_SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("dtype", pa.string()),
        ("features", pa.large_binary()),
    ]
)
EXAMPLE_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("image", pa.string()),
        ("read", pa.string()),  # the row of `images` with the outputs of a frozen Q-Former
        ("inputs", pa.large_binary()),
        ("seconds", pa.float64()),  # of the tower
    ]
)
SEAL = pa.field("seal", pa.binary(32))
"""Column of each file with the SHA-256 of the other columns of a row."""
IMAGE_FILE_SCHEMA, EXAMPLE_FILE_SCHEMA = IMAGE_SCHEMA.append(SEAL), EXAMPLE_SCHEMA.append(SEAL)
ANSWER = "answer"
"""Name of the answer's tokens among an example's inputs."""
LIBRARIES = ("torch", "transformers", "pillow")
"""Libraries that can change features."""


@functools.cache
def feature_code() -> str:
    """Return the fingerprint of the code that computes features."""
    return code_fingerprint([__name__], LIBRARIES)


def features_folder(root: Path, model: str, loading: Loading) -> Path:
    """Return the folder of a model's features; `model` is its fingerprint."""
    # Gradient checkpointing changes no feature.
    options = dataclasses.asdict(loading) | {"checkpointing": False}
    return root / digest("features", model, options, feature_code())


def examples_file(folder: Path, task: str, split: str, longest: int, read: bool = False) -> Path:
    """Return the file of a split, or of one that a Q-Former has `read`; `task` is a fingerprint."""
    also = ["read"] if read else []
    return folder / "examples" / f"{digest(task, split, longest, *also)}.arrow"


def idle_weights_folder(cache: FeatureCache, loading: Loading) -> Path:
    """Return the folder for weights that ranks hardly need once features are cached; see `LMM.offload`."""
    return features_folder(cache.root, cache.model, loading) / "weights"


def image_digest(example: Example) -> str:
    """Return the SHA-256 of an example's images; empty if it has none."""
    if not example.images:
        return ""
    sha256 = hashlib.sha256()
    for image in example.images:
        sha256.update(len(image).to_bytes(8, "big") + image)
    return sha256.hexdigest()


def compute_features(
    lmm: LMM, examples: Sequence[Example], rows: Sequence[int], longest: int
) -> Any:
    """Embed some rows of a split together; return (images, examples) as rows of the two schemas."""
    pixels = [encode(lmm.processor, example, longest) for example in examples]
    begun = time.perf_counter()
    encoded = lmm.with_features(pixels)
    each = (time.perf_counter() - begun) / len(rows)
    encoded = lmm.with_queries(encoded)
    names = [image_digest(example) for example in examples]
    images, inputs = {}, []
    # Padding to the block's longest instruction may change the Q-Former's last bits: it is in the name.
    width = max(len(e.prompt.get(QFORMER[0], ())) for e in encoded)
    for name, one, row in zip(names, encoded, rows, strict=True):
        rest = {n: v.contiguous() for n, v in one.prompt.items() if n not in (FEATURES, QUERIES)}
        content, read = save(rest | {ANSWER: one.answer}), ""
        if FEATURES in one.prompt:
            images[name] = {"image": name, **tensor_columns(one.prompt[FEATURES])}
        if QUERIES in one.prompt:
            # They depend on the image and, in InstructBLIP, on the instruction.
            instruction = [rest[n].tolist() for n in QFORMER if n in rest]
            read = digest("read", name, instruction, width)
            images[read] = {"image": read, **tensor_columns(one.prompt[QUERIES])}
        columns = {"row": row, "image": name, "read": read, "seconds": each}
        inputs.append(columns | {"inputs": content})
    return list(images.values()), inputs


def tensor_columns(tensor: torch.Tensor) -> dict[str, Any]:
    """Return a tensor as the columns of `IMAGE_SCHEMA`."""
    tensor = tensor.contiguous().cpu()
    dtype = str(tensor.dtype).removeprefix("torch.")
    content = tensor.flatten().view(torch.uint8).numpy().tobytes()
    return {"shape": list(tensor.shape), "dtype": dtype, "features": content}


class FeatureFiles:
    """The files of one folder, mapped into memory, so that all ranks share their pages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._images: dict[str, tuple[pa.RecordBatch, int, Path]] = {}
        self._files: set[Path] = set()
        self._examples: dict[Path, pa.Table] = {}
        self._checked: set[tuple[object, object]] = set()
        """Rows whose seal was checked, by their file and number or by name."""
        self._seconds = 0.0

    def example(self, file: Path, row: int) -> Encoded | None:
        """Return an example as `lmm.with_features` makes it; None if its features are not cached."""
        table = self._table(file)
        if table is None:
            return None
        if (file, row) not in self._checked and not self._check(file, row, table):
            return None
        inputs = load(table["inputs"][row].as_buffer().to_pybytes())
        answer, name = inputs.pop(ANSWER), table["image"][row].as_py()
        for part, image in ((FEATURES, name), (QUERIES, table["read"][row].as_py())):
            if image:
                tensor = self._tensor(image)
                if tensor is None:  # its file was damaged
                    return None
                inputs[part] = tensor
        mapped = sum(inputs[n].nbytes for n in (FEATURES, QUERIES) if n in inputs)
        return Encoded(inputs, answer, mapped)

    @property
    def seconds_per_example(self) -> float:
        """Mean seconds of the vision tower for an example of the files opened so far; else 0."""
        count = sum(table.num_rows for table in self._examples.values())
        return self._seconds / count if count else 0.0

    def has_features(self, image: str) -> bool:
        """Return True if features of these images are cached; maps files that were written since."""
        if image not in self._images:
            self._map_new_files()
        return image in self._images

    def complete(self, file: Path, size: int) -> bool:
        """Return True if a file has all `size` examples of its split, and there are their features."""
        table = self._table(file)
        if table is None:
            return False
        if table.num_rows != size:  # files appear whole
            self._put_aside(file, f"it must hold {size} examples, and holds {table.num_rows}")
            return False
        names = {name for column in ("image", "read") for name in table[column].to_pylist()}
        return all(map(self.has_features, names - {""}))

    def fault(self, file: Path) -> str | None:
        """Return why a file is damaged, after every row was read; None for a sound one."""
        try:
            for batch in record_batches(file):
                batch.validate(full=True)
                for number in range(batch.num_rows):
                    values = {name: batch[name][number] for name in batch.schema.names}
                    if not sound_row(file, values):
                        return f"row {number} is not as it was written"
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            return first_line(error)
        return None

    def _table(self, file: Path) -> pa.Table | None:
        """Return the examples of a split; None if there is no such file, or a damaged one."""
        if file not in self._examples:
            if not file.exists():
                return None
            batches = self._whole_batches(file, EXAMPLE_FILE_SCHEMA)
            if batches is None:
                return None
            table = pa.Table.from_batches(batches, EXAMPLE_FILE_SCHEMA).combine_chunks()
            self._examples[file] = table
            self._seconds += math.fsum(table["seconds"].to_pylist())
            self._map_new_files()
        return self._examples[file]

    def _check(self, file: Path, row: int, table: pa.Table) -> bool:
        """Check the seal of an example; the file of a damaged one is set aside."""
        columns = {name: table[name][row] for name in EXAMPLE_FILE_SCHEMA.names}
        values = {n: v.as_py() for n, v in columns.items() if n != "inputs"}
        values["inputs"] = columns["inputs"].as_buffer()
        if values["row"] != row or example_seal(file, values) != values["seal"]:
            self._put_aside(file, f"row {row} is not as it was written")
            return False
        self._checked.add((file, row))
        return True

    def _tensor(self, image: str) -> torch.Tensor | None:
        """Return cached features; None if there are none, or damaged ones, whose file is set aside."""
        if image not in self._images:
            return None
        batch, row, file = self._images[image]
        shape, dtype = batch["shape"][row].as_py(), batch["dtype"][row].as_py()
        content = batch["features"][row].as_buffer()
        if (None, image) not in self._checked:
            if image_seal(image, shape, dtype, content) != batch["seal"][row].as_py():
                self._put_aside(file, f"the features of {image} are not as they were written")
                return None
            self._checked.add((None, image))
        # The file's own memory, not a copy: it is read when a batch is collated, and never written.
        mapped = torch.frombuffer(content, dtype=getattr(torch, dtype))
        return mapped.view(shape)

    def _map_new_files(self) -> None:
        for file in sorted((self.folder / "images").glob("*.arrow")):
            if file not in self._files:
                self._files.add(file)
                for batch in self._whole_batches(file, IMAGE_FILE_SCHEMA) or ():
                    names = batch["image"].to_pylist()
                    self._images |= {name: (batch, row, file) for row, name in enumerate(names)}

    def _whole_batches(self, file: Path, schema: pa.Schema) -> list[pa.RecordBatch] | None:
        """Return the batches of a file whose structure is whole; another one is set aside."""
        try:
            batches = list(record_batches(file))
            for batch in batches:
                if batch.schema != schema:
                    raise pa.ArrowInvalid("its columns are not those of a features file")
                batch.validate(full=True)  # an offset beyond the file would end the process
            return batches
        except (pa.ArrowException, OSError, ValueError) as error:
            self._put_aside(file, first_line(error))
            return None

    def _put_aside(self, file: Path, why: str) -> None:
        put_aside(file, why)
        self._examples.pop(file, None)
        self._images = {name: place for name, place in self._images.items() if place[2] != file}


class FeatureReader:
    """Reader of cached examples by the names of their tasks, for `Data`."""

    def __init__(self, cache: FeatureCache, loading: Loading) -> None:
        self._tasks = cache.tasks
        self._features = FeatureFiles(features_folder(cache.root, cache.model, loading))

    def __call__(self, task: str, split: str, row: int, longest: int) -> Encoded | None:
        """Return one example; see `FeatureFiles.example`."""
        for read in (True, False):  # a model without a Q-Former has files of the second kind alone
            file = examples_file(self._features.folder, self._tasks[task], split, longest, read)
            if found := self._features.example(file, row):
                return found
        return None

    @property
    def seconds_per_example(self) -> float:
        """Mean seconds of the vision tower for an example; see `FeatureFiles.seconds_per_example`."""
        return self._features.seconds_per_example


def feature_reader(cache: FeatureCache | None, loading: Loading) -> FeatureReader | None:
    """Return the reader of a cache; None without one."""
    return FeatureReader(cache, loading) if cache else None


def record_batches(file: Path) -> Iterator[pa.RecordBatch]:
    """Yield the batches of an Arrow file, mapped into memory."""
    file_reader = pa.ipc.open_file(pa.memory_map(str(file)))
    for number in range(file_reader.num_record_batches):
        yield file_reader.get_batch(number)
