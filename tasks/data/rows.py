"""The rows of one split: a sequence of examples over Parquet or Arrow files.

There are two layouts. A file with a column `image` holds its images itself. In a shard, `images` is a
list of row numbers in the image shards beside it, which hold every distinct image once. Shards of both
kinds are mapped into memory, so that only the rows in use are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from spaces.errors import InputError, first_line
from tasks.data.manifest import check_recorded
from tasks.data.row_shapes import IMAGE as IMAGE
from tasks.data.row_shapes import RowShapes, row_shapes

TEXT_COLUMNS = ("id", "prompt", "answer", "answers", "history", "system", "images")
COLUMNS = (*TEXT_COLUMNS, "image")
# If missing: the row number, the answer alone, no earlier turns, no system text.
DERIVED = frozenset({"id", "answers", "history", "system"})


@dataclass(frozen=True, slots=True)
class Example:
    """One instruction: encoded image files (none for text only), prompt, and the right answer.

    The model is trained on `answer`; metrics compare with all `answers`. `IMAGE` in the prompt, or in that
    of an earlier turn, marks the place of an image. There are as many marks as images, or none: then
    the images come first.
    """

    id: str
    images: tuple[bytes, ...]
    prompt: str
    answer: str
    answers: tuple[str, ...]
    history: tuple[tuple[str, str], ...] = ()
    """Earlier turns of the conversation, (prompt, answer) each."""
    system: str = ""
    """Text in the system's role that begins the conversation."""


class Rows(Sequence[Example]):
    """The examples of a split, which stay in Arrow until a row is indexed."""

    def __init__(self, files: Sequence[Path], split: str, images: Sequence[Path] = ()) -> None:
        self.files, self.split, self.image_files = tuple(files), split, tuple(images)

    @cached_property
    def _text(self) -> pa.Table:
        for file in self.files:
            check_recorded(file)
        return read_tables(self.files, TEXT_COLUMNS)

    @cached_property
    def _cells(self) -> pa.ChunkedArray:
        """Return the image column of the layout that has one."""
        return read_tables(self.files, ("image",)).column("image")

    @cached_property
    def _shared(self) -> pa.ChunkedArray:
        return read_images(self.image_files)

    @cached_property
    def _digests(self) -> pa.ChunkedArray:
        return read_images(self.image_files, "sha256")

    def __len__(self) -> int:
        return self._text.num_rows

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self._example(row) for row in range(*index.indices(len(self)))]
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError(f"row {index} of {len(self)} in {self.files[0].parent}")
        return self._example(row)

    def lengths(self) -> list[int]:
        """Return the characters of each row's prompt, to estimate its tokens."""
        count: Any = pc  # type checkers do not see its functions
        return count.utf8_length(self._text.column("prompt")).to_pylist()

    def shapes(self) -> RowShapes:
        """Return the sizes of each row's parts, without making examples of them."""
        return row_shapes(self._text, self._cells if self._has_cells else None)

    @property
    def _has_cells(self) -> bool:
        return "images" not in self._text.column_names

    def image_columns(self, *names: str) -> list[list[Any]] | None:
        """Return columns that describe the images of the shards; None if no conversion wrote them."""
        if self._has_cells or not are_described(self.image_files):
            return None
        return [read_images(self.image_files, name).to_pylist() for name in names]

    def image_numbers(self) -> list[list[int] | None]:
        """Return each row's images by their numbers in the image shards."""
        return self._text.column("images").to_pylist()

    def image_buffers(self) -> Iterator[tuple[int, int | None, Any]]:
        """Yield row, number in the image shards (None if there are none) and bytes of every image."""
        if not self._has_cells:
            for row, numbers in enumerate(self.image_numbers()):
                for number in numbers or ():
                    yield row, number, self._shared[number].as_buffer()
            return
        row = 0
        for chunk in self._cells.chunks:
            for cell in chunk.field("bytes") if pa.types.is_struct(chunk.type) else chunk:
                if cell.is_valid and not pa.types.is_null(chunk.type):
                    yield row, None, cell.as_buffer()
                row += 1

    def __iter__(self) -> Iterator[Example]:
        return map(self._example, range(len(self)))

    def _example(self, row: int) -> Example:
        text = {name: self._text.column(name)[row].as_py() for name in self._text.column_names}
        return Example(
            id=row_id(text, self.split, row),
            images=self._images(text, row),
            prompt=text["prompt"],
            answer=text["answer"],
            answers=tuple(text.get("answers") or (text["answer"],)),
            history=tuple((turn["prompt"], turn["answer"]) for turn in text.get("history") or ()),
            system=text.get("system") or "",
        )

    def _images(self, text: dict[str, Any], row: int) -> tuple[bytes, ...]:
        if "images" in text:
            return tuple(map(self._shared_image, text["images"] or ()))
        image = image_bytes(self._cells[row].as_py())
        return () if image is None else (image,)

    def _shared_image(self, number: int) -> bytes:
        """Return an image of the shards, whose content must be what its conversion wrote."""
        image = self._shared[number].as_py() or b""
        if hashlib.sha256(image).digest() != self._digests[number].as_py():
            raise InputError(
                f"image {number} in {self.image_files[0].parent} is damaged or edited: delete this "
                "folder, and the data are converted again"
            )
        return image


def row_id(values: dict[str, Any], split: str, row: int) -> str:
    """Return the row's own id, or split and row number if the file has none."""
    own = values.get("id")
    return f"{split}-{row}" if own is None else str(own)


def image_bytes(cell: dict[str, Any] | bytes | None) -> bytes | None:
    """Return the encoded image of a cell: {bytes, path} as Hugging Face writes it, or plain bytes."""
    return cell.get("bytes") if isinstance(cell, dict) else cell


def read_tables(files: Sequence[Path], columns: Iterable[str] = COLUMNS) -> pa.Table:
    """Read all files of a split as one table; see `read_table`."""
    tables = [read_table(file, columns) for file in files]
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables)


def read_images(files: Sequence[Path], name: str = "bytes") -> pa.ChunkedArray:
    """Map a column of the image shards into memory, by default the images themselves."""
    columns = [_open_mapped(file).column(name) for file in files]
    chunks = [chunk for column in columns for chunk in column.chunks]
    return pa.chunked_array(chunks, None if chunks else pa.large_binary())


def are_described(files: Sequence[Path]) -> bool:
    """Return whether a conversion that describes each image has decoded all images of the shards."""
    return all("mode" in _open_mapped(file).column_names for file in files)


def _open_mapped(path: Path) -> pa.Table:
    try:
        return open_arrow(path).read_all()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {path}: {first_line(error)}; convert it again") from error


def read_table(path: Path, columns: Iterable[str] = COLUMNS) -> pa.Table:
    """Read those of `columns` that a file has; raise `InputError` with every fault of the file."""
    try:
        table = _reader(path)(path, tuple(columns))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {path}: {first_line(error)}; write it again") from error
    wanted = {*columns} - {"image" if "images" in table.column_names else "images"}
    faults = column_faults(table.schema, [name for name in columns if name in wanted])
    if faults:
        raise InputError(f"{path}: {'; '.join(faults)}; columns are {_listed(_schema(path))}")
    return table


def column_faults(schema: pa.Schema, columns: Iterable[str] = COLUMNS) -> list[str]:
    """Return the faults of a file's columns: missing ones, and types that fit no example."""
    faults = []
    for name in columns:
        if name in schema.names:
            kind, wanted = schema.field(name).type, _WANTED[name]
            if not wanted.fits(kind):
                faults.append(f'column "{name}" must be {wanted.text}, got {kind}')
        elif name not in DERIVED:
            faults.append(f'column "{name}" is missing')
    return faults


def _reader(path: Path) -> Callable[[Path, tuple[str, ...]], pa.Table]:
    return _read_arrow if path.suffix == ".arrow" else _read_parquet


def _read_parquet(path: Path, columns: tuple[str, ...]) -> pa.Table:
    known = [name for name in pq.read_schema(path).names if name in columns]
    return pq.read_table(path, columns=known, memory_map=True)


def _read_arrow(path: Path, columns: tuple[str, ...]) -> pa.Table:
    table = open_arrow(path).read_all()
    return table.select([name for name in table.column_names if name in columns])


def open_arrow(path: Path) -> pa.RecordBatchFileReader | pa.RecordBatchStreamReader:
    """Map an Arrow file into memory; Hugging Face datasets write the stream form under the same suffix."""
    try:
        return pa.ipc.open_file(pa.memory_map(str(path)))
    except pa.ArrowInvalid:
        return pa.ipc.open_stream(pa.memory_map(str(path)))


def _schema(path: Path) -> pa.Schema:
    return open_arrow(path).schema if path.suffix == ".arrow" else pq.read_schema(path)


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema) or "none"


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind  # pandas categories
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_texts(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(check(kind) for check in lists) and _is_text(kind.value_type)


def _is_turns(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)):
        return False
    turn = kind.value_type
    return all(turn.get_field_index(name) >= 0 for name in ("prompt", "answer"))


def _is_numbers(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) and pa.types.is_integer(kind.value_type)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
    return _is_bytes(kind) or pa.types.is_null(kind)


@dataclass(frozen=True)
class _Wanted:
    text: str
    fits: Callable[[pa.DataType], bool]


_WANTED = {
    "id": _Wanted("string or integer", lambda kind: _is_text(kind) or pa.types.is_integer(kind)),
    "image": _Wanted("struct<bytes: binary, path: string> or binary", _is_image),
    "prompt": _Wanted("string", _is_text),
    "answer": _Wanted("string", _is_text),
    "answers": _Wanted("list<string>", _is_texts),
    "history": _Wanted("list<struct<prompt: string, answer: string>>", _is_turns),
    "system": _Wanted("string", _is_text),
    "images": _Wanted("list<int64>", _is_numbers),
}
