"""The YAML file of a benchmark: written by hand, by a preset, or by the preparation of raw data.

    name: mini
    order: [animal, flag]     # learned one after the other
    initial: [caption]        # learned jointly before the sequence, never trained again
    general: [chart]          # scored, and never trained
    tasks:
      animal: {path: animal, metric: exact_match, max_new_tokens: 6, closed: true, description: ...}

A path is a folder, relative to the YAML file, with {train,validation,test}.parquet (or .arrow), or a
converted one. Keys in `RAW_KEYS` ask for a conversion; `tasks.user_data.prepared_benchmark` does it.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spaces.errors import InputError, shown, unknown
from spaces.records import VERSION, Record
from spaces.secrets import secret_places
from spaces.yaml_files import truth, write_yaml
from tasks.data.task import SPLITS
from tasks.scoring.answer_formats import check_format
from tasks.scoring.answers import ANSWER_METRICS

Model = TypeVar("Model", bound=BaseModel)

BENCHMARK_FILE = "benchmark.yaml"
RAW_KEYS = (*SPLITS, "images", "format", "split", "limit", "prompt", "columns")
"""Keys of a task that describe how raw data are read."""


class TaskEntry(BaseModel):
    """One task of a benchmark file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    path: str = ""
    """File or folder of the data, relative to the benchmark file; default: the task's name."""
    metric: str
    max_new_tokens: int
    closed: bool = False
    description: str = ""
    answer_format: str = ""
    train: Any = None
    validation: Any = None
    test: Any = None
    images: Any = None
    format: Any = None
    split: Any = None
    limit: Any = None
    prompt: Any = None
    columns: Any = None

    def raw_values(self) -> dict[str, Any]:
        """Return the values of the raw keys that the file holds."""
        return {key: getattr(self, key) for key in RAW_KEYS if key in self.model_fields_set}

    def ready_values(self) -> dict[str, Any]:
        """Return the other values that the file holds."""
        return {key: getattr(self, key) for key in self.model_fields_set - {*RAW_KEYS}}

    def data_path(self, name: str, base: Path) -> Path:
        """Return where the data of the task `name` lie; `base` is the benchmark file's folder."""
        return base / (self.path if "path" in self.model_fields_set else name)

    def scoring(self) -> dict[str, Any]:
        """Return the fields of `Task` that decide how answers are asked for and scored."""
        closed = self.closed or self.answer_format == "closed"
        kept = self.model_dump(include={"metric", "max_new_tokens", "description", "answer_format"})
        return kept | {"closed": closed}

    def check(self, where: str) -> None:
        """Raise `InputError`, which begins with `where`, unless answers can be scored so."""
        if self.metric not in ANSWER_METRICS:
            raise InputError(f"{where}: {unknown('metric', self.metric, ANSWER_METRICS)}")
        if self.max_new_tokens < 1:
            raise InputError(
                f"{where}: max_new_tokens must be at least 1: got {self.max_new_tokens}"
            )
        try:
            check_format(self.answer_format)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error


class BenchmarkFile(Record):
    """Content of a benchmark's YAML file; hand-written ones need no schema."""

    model_config = ConfigDict(strict=True)
    TITLE: ClassVar[str] = "benchmark"

    name: str = ""
    description: str = ""
    order: list[Any] = Field(default_factory=list)
    initial: list[Any] = Field(default_factory=list)
    general: list[Any] = Field(default_factory=list)
    tasks: dict[str, TaskEntry]
    skip_broken: bool = False
    """Permission to leave out rows that cannot be used."""

    @classmethod
    def from_values(cls, values: object, source: str) -> Self:
        """Check parsed YAML; raise `InputError` that names `source` and the nearest valid key."""
        if isinstance(values, dict) and VERSION in values:
            values = dict(values)
            version = values.pop(VERSION)
            if version != cls.SCHEMA:
                raise InputError(f"{source} {cls._other_version(version)}")
        values = _with_known_keys(cls, values, source)
        for place in secret_places(values):
            raise InputError(
                f"{source}: {place} must be no address with a password or a token, for the prepared "
                "benchmark keeps it: fetch the data by a tool with a login of its own, and name the folder"
            )
        tasks = values.get("tasks")
        if isinstance(tasks, dict):
            entries = {name: _task_entry(source, name, entry) for name, entry in tasks.items()}
            values = values | {"tasks": entries}
        file = checked(cls, values, source)
        if not file.tasks:
            raise InputError(f"{source}: a benchmark needs at least one task: got none under tasks")
        file.learning_order(source)
        file.general_tasks(source)
        return file

    def learning_order(self, source: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the tasks in the order in which they are learned, and those learned before it."""
        initial = _task_names(source, "initial", self.initial, self.tasks)
        order = self.order
        if "order" not in self.model_fields_set:
            order = [name for name in self.tasks if name not in (*initial, *self.general)]
        order = _task_names(source, "order", order, self.tasks)
        both = [name for name in order if name in initial]
        if both or not order:
            raise InputError(
                f"{source}: order needs at least one task, and none of initial, which are not "
                f"learned again: got {', '.join(both) or 'an empty list'}"
            )
        return order, initial

    def general_tasks(self, source: str) -> tuple[str, ...]:
        """Return the tasks that are scored and never trained, none of which is learned."""
        general = _task_names(source, "general", self.general, self.tasks)
        learned = {name for names in self.learning_order(source) for name in names}
        both = [name for name in general if name in learned]
        if both:
            raise InputError(
                f"{source}: general must name tasks that nothing trains, so none of order and initial: "
                f"got {', '.join(both)}"
            )
        return general

    def to_yaml(self) -> str:
        """Return the file's text: its schema, then only what was given."""
        values = {VERSION: self.SCHEMA, **self.model_dump(exclude_unset=True)}
        return write_yaml(values)


_KINDS = {
    "str": "a text",
    "string": "a text",
    "int": "a whole number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
}


def checked(model: type[Model], values: Any, where: str) -> Model:
    """Make a model of values from YAML; raise `InputError`, which begins with `where`, for a fault."""
    values = _with_known_keys(model, values, where)
    truths = [key for key in values if model.model_fields[key].annotation is bool]
    values = values | {key: truth(values[key]) for key in truths}  # closed: yes
    try:
        return model.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
    key = str(fault["loc"][0])
    if fault["type"] == "missing":
        kind = getattr(model.model_fields[key].annotation, "__name__", "")
        raise InputError(f"{where}: key {key} is missing ({_KINDS[kind]})")
    kind = _KINDS[fault["type"].partition("_")[0]]
    raise InputError(f"{where}: {key} must be {kind}: got {shown(values[key])}")


def _with_known_keys(model: type[BaseModel], values: Any, where: str) -> dict[Any, Any]:
    fields = model.model_fields
    if not isinstance(values, dict):
        raise InputError(f"{where} must hold {', '.join(fields)}: got {shown(values)}")
    for key in values:
        if key not in fields:
            raise InputError(f"{where}: {unknown('key', key, fields)}")
    return values


def _task_entry(source: str, name: Any, values: Any) -> TaskEntry:
    _check_name(source, name)
    where = f"{source}: task {name}"
    entry = checked(TaskEntry, values, where)
    entry.check(where)
    return entry


def _check_name(source: str, name: Any) -> None:
    # + ; > , are the punctuation of orderings; a folder of results is named after a task too.
    if isinstance(name, str) and name and not set(name) & set("+;>,/@ \t\n"):
        return
    hint = "; put it in quotes" if not isinstance(name, str) else ""
    raise InputError(
        f"{source}: a task's name is a text without blanks and + ; > , / @: got {shown(name)}{hint}"
    )


def _task_names(source: str, key: str, names: list[Any], tasks: Collection[str]) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str) or name not in tasks:
            raise InputError(f"{source}: {key}: {unknown('task', name, tasks)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{source}: {key} must name a task once: got {', '.join(twice)} twice")
    return tuple(names)
