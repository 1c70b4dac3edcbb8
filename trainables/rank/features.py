"""What the frozen vision tower saw of every image, computed once, in Arrow files that are memory-mapped.

Two kinds of file in one folder, which stands for a model, how it is held, and the code and libraries that
look: `images/*.arrow` has a row for each distinct set of images, `examples/*.arrow` one for each example
of a split, with all that the processor made of it but the pixels.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
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
from spaces.loading import Loading
from tasks.data.rows import Example
from trainables.stage_job import FeatureCache
from trainables.store.code_fingerprint import ROOT
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
        ("read", pa.string()),  # names what a frozen Q-Former read, among the images
        ("inputs", pa.large_binary()),
        ("seconds", pa.float64()),  # that the tower took to look at it
    ]
)
ANSWER = "answer"
"""Among an example's inputs, the tokens of its answer."""
FEATURE_CODE = (
    *("lmm", "batching", "family", "frozen", "frozen_blocks", "frozen_parts", "frozen_qformer"),
    *("frozen_tower", "loading", "processors"),
)
"""The modules of `models` that decide what is seen."""


def features_folder(root: Path, model: str, loading: Loading) -> Path:
    """Where what a model sees is kept; `model` is its fingerprint."""
    code = [(ROOT / "models" / f"{name}.py").read_text() for name in FEATURE_CODE]
    libraries = [importlib.metadata.version(n) for n in ("torch", "transformers", "pillow")]
    held = dataclasses.asdict(loading) | {
        "checkpointing": False
    }  # which changes nothing that is seen
    return root / digest("features", model, held, code, libraries)


def examples_file(folder: Path, task: str, split: str, longest: int, read: bool = False) -> Path:
    """The file of one split, or of one that a frozen Q-Former has `read`; `task` is a fingerprint."""
    also = ["read"] if read else []
    return folder / "examples" / f"{digest(task, split, longest, *also)}.arrow"


def idle_weights_folder(seen: FeatureCache, loading: Loading) -> Path:
    """Where weights wait that are hardly looked through any more."""
    return features_folder(seen.root, seen.model, loading) / "weights"


def image_digest(example: Example) -> str:
    """Names an example's images by their content; empty if it has none."""
    if not example.images:
        return ""
    found = hashlib.sha256()
    for image in example.images:
        found.update(len(image).to_bytes(8, "big") + image)
    return found.hexdigest()


def compute_features(
    lmm: LMM, examples: Sequence[Example], rows: Sequence[int], longest: int
) -> Any:
    """Some rows of a split that are looked at together, as (images, examples) of the two schemas."""
    shown = [encode(lmm.processor, example, longest) for example in examples]
    begun = time.perf_counter()
    encoded = lmm.with_features(shown)
    each = (time.perf_counter() - begun) / len(rows)
    encoded = lmm.with_queries(encoded)
    names = [image_digest(example) for example in examples]
    images, inputs = {}, []
    # They are read padded to the longest instruction, which may show in the last bits.
    width = max(len(e.prompt.get(QFORMER[0], ())) for e in encoded)
    for name, one, row in zip(names, encoded, rows, strict=True):
        rest = {n: v.contiguous() for n, v in one.prompt.items() if n not in (FEATURES, QUERIES)}
        content, read = save(rest | {ANSWER: one.answer}), ""
        if FEATURES in one.prompt:
            images[name] = {"image": name, **tensor_columns(one.prompt[FEATURES])}
        if QUERIES in one.prompt:
            # Of the image and, in InstructBLIP, the instruction.
            asked = [rest[n].tolist() for n in QFORMER if n in rest]
            read = digest("read", name, asked, width)
            images[read] = {"image": read, **tensor_columns(one.prompt[QUERIES])}
        about = {"row": row, "image": name, "read": read, "seconds": each}
        inputs.append(about | {"inputs": content})
    return list(images.values()), inputs


def tensor_columns(tensor: torch.Tensor) -> dict[str, Any]:
    """A tensor as the columns of `IMAGE_SCHEMA`."""
    tensor = tensor.contiguous().cpu()
    kind = str(tensor.dtype).removeprefix("torch.")
    content = tensor.flatten().view(torch.uint8).numpy().tobytes()
    return {"shape": list(tensor.shape), "dtype": kind, "features": content}


class FeatureFiles:
    """The files of one folder, to read from; they are mapped, so that all ranks share their pages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._images: dict[str, tuple[pa.RecordBatch, int]] = {}
        self._parts: set[Path] = set()
        self._examples: dict[Path, pa.Table] = {}
        self._spent = 0.0

    def example(self, file: Path, row: int) -> Encoded | None:
        """One example of a split, as `lmm.with_features` would make it; None if it was never looked at."""
        if file not in self._examples:
            if not file.exists():
                return None
            self._examples[file] = pa.Table.from_batches(
                record_batches(file), EXAMPLE_SCHEMA
            ).combine_chunks()
            self._spent += math.fsum(self._examples[file]["seconds"].to_pylist())
            self._open_parts()
        table = self._examples[file]
        inputs = load(table["inputs"][row].as_buffer().to_pybytes())
        answer, name = inputs.pop(ANSWER), table["image"][row].as_py()
        if name:
            inputs[FEATURES] = self._seen(name)
        if read := table["read"][row].as_py():
            inputs[QUERIES] = self._seen(read)
        mapped = sum(inputs[n].nbytes for n in (FEATURES, QUERIES) if n in inputs)
        return Encoded(inputs, answer, mapped)

    @property
    def pace(self) -> float:
        """Mean seconds that the tower took for an example of the files opened so far; else 0."""
        count = sum(table.num_rows for table in self._examples.values())
        return self._spent / count if count else 0.0

    def has_features(self, image: str) -> bool:
        """Whether these images were looked at; reads what was written since."""
        if image not in self._images:
            self._open_parts()
        return image in self._images

    def _seen(self, image: str) -> torch.Tensor:
        batch, row = self._images[image]
        kind: torch.dtype = getattr(torch, batch["dtype"][row].as_py())
        # In the file itself, not a copy: it is read when a batch is put together, and never written to.
        mapped = torch.frombuffer(batch["features"][row].as_buffer(), dtype=kind)
        return mapped.view(batch["shape"][row].as_py())

    def _open_parts(self) -> None:
        for part in sorted((self.folder / "images").glob("*.arrow")):
            if part not in self._parts:
                self._parts.add(part)
                for batch in record_batches(part):
                    names = batch["image"].to_pylist()
                    self._images |= {name: (batch, row) for row, name in enumerate(names)}


class FeatureReader:
    """What `Data` asks for examples that were looked at before."""

    def __init__(self, seen: FeatureCache, loading: Loading) -> None:
        self._tasks = seen.tasks
        self._features = FeatureFiles(features_folder(seen.root, seen.model, loading))

    def __call__(self, task: str, split: str, row: int, longest: int) -> Encoded | None:
        """One example, as `FeatureFiles.example` has it."""
        for read in (True, False):  # what no Q-Former is asked for is there all the same
            file = examples_file(self._features.folder, self._tasks[task], split, longest, read)
            if found := self._features.example(file, row):
                return found
        return None

    @property
    def pace(self) -> float:
        """Seconds that the tower took to look at an example, as far as files were opened."""
        return self._features.pace


def feature_reader(seen: FeatureCache | None, loading: Loading) -> FeatureReader | None:
    """None if nothing is kept."""
    return FeatureReader(seen, loading) if seen else None


def record_batches(file: Path) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow file, mapped into memory."""
    file_reader = pa.ipc.open_file(pa.memory_map(str(file)))
    for number in range(file_reader.num_record_batches):
        yield file_reader.get_batch(number)
