"""A benchmark: the tasks of a search and the order in which they arrive, read from a YAML file.

    name: mini
    order: [animal, flag]     # learned one after the other
    initial: [caption]        # learned jointly before the sequence, never trained again
    tasks:
      animal: {path: animal, metric: exact_match, max_new_tokens: 6, closed: true, description: ...}

A path is a folder, relative to the YAML file, with {train,validation,test}.parquet (or .arrow), or one
that a conversion has written. `tasks.user_data.prepared_benchmark` makes such a benchmark of other data.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from spaces.errors import InputError, unknown
from tasks.data.shards import IMAGES, MANIFEST, read_manifest, shard_files
from tasks.data.task import SPLITS, Task
from tasks.scoring.answer_formats import check_format
from tasks.scoring.answers import METRICS
from tasks.user_data.raw_files import KEYS as RAW_KEYS

T = TypeVar("T")

FILE = "benchmark.yaml"
EMBEDDED = {path.parent.name: path for path in Path(__file__).parents[1].glob(f"*/{FILE}")}
KEYS = ("name", "description", "order", "initial", "tasks", "skip_broken")
READY_KEYS = ("path", "metric", "max_new_tokens", "closed", "description", "answer_format")
TASK_KEYS = (*READY_KEYS, *RAW_KEYS)
SUFFIXES = (".parquet", ".arrow")


@dataclass(frozen=True)
class Benchmark:
    """Tasks by name, the order in which they are learned, and those learned jointly before it."""

    name: str
    tasks: Mapping[str, Task] = field(hash=False)
    order: tuple[str, ...]
    initial: tuple[str, ...]
    file: Path
    """The YAML file; tasks lie beside it."""
    description: str = ""

    def task(self, name: str) -> Task:
        """The task of that name; `InputError` with the nearest one otherwise."""
        if name not in self.tasks:
            raise unknown("task", name, self.tasks)
        return self.tasks[name]


def read_benchmark_file(name_or_path: str | Path) -> tuple[Path, dict[str, Any]]:
    """The YAML file of a benchmark, and what is written in it, of which all but the data is checked."""
    path = _find(name_or_path)
    data = _mapping(_parse(path), KEYS, f"{path}")
    read = _Reader(str(path))
    read.value(data, "skip_broken", bool, False)
    tasks = read.value(data, "tasks", dict, None)
    for name, value in tasks.items():
        where = f"{path}: task {_name(path, name)}"
        _scored(where, _mapping(value, TASK_KEYS, where))
    if not tasks:
        raise InputError(f"{path}: a benchmark needs at least one task: got none under tasks")
    _order(path, data)
    return path, data


def load_benchmark(name_or_path: str | Path) -> Benchmark:
    """The embedded benchmark of that name, or the one a folder or a YAML file describes."""
    path, data = read_benchmark_file(name_or_path)
    read = _Reader(str(path))
    tasks = {name: _task(path, name, value) for name, value in data["tasks"].items()}
    order, initial = _order(path, data)
    return Benchmark(
        name=read.value(data, "name", str, path.parent.name),
        tasks=tasks,
        order=order,
        initial=initial,
        file=path,
        description=read.value(data, "description", str, ""),
    )


def _find(name_or_path: str | Path) -> Path:
    """The YAML file, as an absolute path: Tune changes the working directory of a trial."""
    if isinstance(name_or_path, str) and name_or_path in EMBEDDED:
        return EMBEDDED[name_or_path].resolve()
    path = Path(name_or_path).expanduser().resolve()
    if path.is_dir():
        path /= FILE
    if path.is_file():
        return path
    if "/" not in str(name_or_path) and path.suffix not in (".yaml", ".yml"):
        raise unknown("benchmark", name_or_path, EMBEDDED)
    raise InputError(
        f"a benchmark is a folder with {FILE}, a YAML file or one of {', '.join(EMBEDDED)}: "
        f"{path} does not exist"
    )


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets a later key replace an earlier one: of a task written twice, one would vanish."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"{', '.join(twice)} must be written once, got twice", node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


def _parse(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} must be YAML: {' '.join(str(error).split())}") from error


def _mapping(data: Any, keys: Collection[str], where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise InputError(f"{where} must hold {', '.join(keys)}: got {_got(data)}")
    for key in data:
        if key not in keys:
            raise InputError(f"{where}: {unknown('key', key, keys)}")
    return data


@dataclass(frozen=True)
class _Reader:
    """Takes typed values out of a mapping of the file; `where` begins every error."""

    where: str

    def value(self, data: Mapping[str, Any], key: str, kind: type[T], default: T | None) -> T:
        if key not in data:
            if default is None:
                raise InputError(f"{self.where}: key {key} is missing ({_KINDS[kind]})")
            return default
        value = data[key]
        # True is an int to Python, but max_new_tokens: yes is a mistake.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InputError(f"{self.where}: {key} must be {_KINDS[kind]}: got {_got(value)}")
        return value


_KINDS = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


def _got(value: Any) -> str:
    return "nothing" if value is None else f"{value!r}"


def _name(path: Path, name: Any) -> str:
    # + ; > , are the punctuation of orderings; a folder of results is named after a task too.
    if isinstance(name, str) and name and not set(name) & set("+;>,/@ \t\n"):
        return name
    hint = "; put it in quotes" if not isinstance(name, str) else ""
    raise InputError(
        f"{path}: a task's name is a text without blanks and + ; > , / @: got {_got(name)}{hint}"
    )


def _names(path: Path, key: str, names: list[Any], tasks: Collection[str]) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str) or name not in tasks:
            raise InputError(f"{path}: {key}: {unknown('task', name, tasks)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: {key} must name a task once: got {', '.join(twice)} twice")
    return tuple(names)


def _order(path: Path, data: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tasks in the order in which they are learned, and those learned before."""
    read, tasks = _Reader(str(path)), data["tasks"]
    initial = _names(path, "initial", read.value(data, "initial", list, []), tasks)
    rest = [name for name in tasks if name not in initial]
    order = _names(path, "order", read.value(data, "order", list, rest), tasks)
    both = [name for name in order if name in initial]
    if both or not order:
        raise InputError(
            f"{path}: order needs at least one task, and none of initial, which are not learned "
            f"again: got {', '.join(both) or 'an empty list'}"
        )
    return order, initial


def _scored(where: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """How a task's answers are asked for and scored."""
    read = _Reader(where)
    metric = read.value(value, "metric", str, None)
    if metric not in METRICS:
        raise InputError(f"{where}: {unknown('metric', metric, METRICS)}")
    max_new_tokens = read.value(value, "max_new_tokens", int, None)
    if max_new_tokens < 1:
        raise InputError(f"{where}: max_new_tokens must be at least 1: got {max_new_tokens}")
    answer_format = read.value(value, "answer_format", str, "")
    try:
        check_format(answer_format)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    closed = read.value(value, "closed", bool, False) or answer_format == "closed"
    return {
        "metric": metric,
        "max_new_tokens": max_new_tokens,
        "closed": closed,
        "description": read.value(value, "description", str, ""),
        "answer_format": answer_format,
    }


def _task(path: Path, name: str, value: dict[str, Any]) -> Task:
    where = f"{path}: task {name}"
    if any(key in value for key in RAW_KEYS):
        raise InputError(
            f"{where}: {', '.join(key for key in RAW_KEYS if key in value)} asks for a conversion, "
            "which search/run.py and search/train.py do; here the data must be converted"
        )
    folder = path.parent / _Reader(where).value(value, "path", str, name)
    files, images = task_files(where, folder)
    return Task(name=name, files=files, images=images, **_scored(where, value))


def task_files(where: str, folder: Path) -> tuple[dict[str, tuple[Path, ...]], tuple[Path, ...]]:
    """The files of each split, and of the images where those lie apart."""
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        files = {split: shard_files(folder, manifest, split) for split in SPLITS}
        images = shard_files(folder, manifest, IMAGES)
    else:
        files, images = plain_files(folder), ()
    missing = [split for split in SPLITS if not files.get(split)]
    if missing:
        raise InputError(
            f"{where}: {folder} must hold {', '.join(f'{split}.parquet' for split in SPLITS)}: "
            f"missing {', '.join(missing)}"
        )
    return files, images


def plain_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The splits of a folder that nothing has to be converted in; of two suffixes, the first."""
    return {
        split: (file,)
        for split in SPLITS
        for suffix in reversed(SUFFIXES)
        if (file := folder / f"{split}{suffix}").is_file()
    }
