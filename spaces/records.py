"""Base class of everything that is written to disk as JSON or YAML and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from spaces.errors import (
    DamagedError,
    InputError,
    first_line,
    nearest,
    plain,
    shortened,
    shown,
)
from spaces.seals import SEAL, check_seal, sealed

VERSION = "schema"
"""Field of every record that holds the version of its schema."""


class Record(BaseModel):
    """A file's content as typed fields, used by its writer and its reader alike.

    Raise `SCHEMA` when a field changes its meaning, goes, or comes without a default. A record of
    another schema is refused with one message rather than read wrongly.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")
    SCHEMA: ClassVar[int] = 1
    TITLE: ClassVar[str] = "record"
    """Name of this kind of file in messages."""
    EXACT: ClassVar[bool] = False
    """True: a record that a person may edit is refused if a value is dropped or converted."""
    REMEDY: ClassVar[str] = "write it again"
    """Advice to a user who has an older file, or a damaged one."""
    SEALED: ClassVar[bool] = False
    """True for files that nobody may edit: they carry a seal, and are read only if it fits."""
    MARKS: ClassVar[tuple[str, ...]] = (VERSION, SEAL)
    """Keys of the file that are no fields."""

    @classmethod
    def from_values(cls, values: object, source: str) -> Self:
        """Check parsed values; raises `InputError` that names `source` if they are not such a record."""
        if not isinstance(values, Mapping):
            raise DamagedError(f"{source} must hold a {cls.TITLE}, got {type(values).__name__}")
        version = values.get(VERSION)
        if version != cls.SCHEMA or isinstance(version, bool):
            raise InputError(f"{source} {cls._other_version(version)}")
        if cls.SEALED:
            check_seal(values, source, cls.REMEDY)
        marks = cls.MARKS if cls.SEALED else (VERSION,)
        fields = {str(name): value for name, value in values.items() if name not in marks}
        record = None
        try:
            record = cls.model_validate(fields)
            fault = _difference(fields, record.model_dump()) if cls.EXACT else ""
        except ValidationError as error:
            fault = cls._first_fault(error)
        except (TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            fault = f"a value has a wrong type ({first_line(error)})"
        if fault or record is None:
            raise DamagedError(f"{source} must hold a {cls.TITLE} of schema {cls.SCHEMA}; {fault}")
        return record

    @classmethod
    def from_json(cls, content: str | bytes, source: str) -> Self:
        """Parse and check JSON; raises `InputError` that names `source` if it holds no such record."""
        return cls.from_values(parse_json(content, source), source)

    def to_values(self) -> dict[str, Any]:
        """Return plain values for JSON or YAML, the version of the schema first."""
        if self.SEALED:  # values that are not finite become null, as in JSON
            return sealed({VERSION: self.SCHEMA, **json.loads(self.model_dump_json())})
        return {VERSION: self.SCHEMA, **self.model_dump(mode="json")}

    def to_json(self) -> str:
        """Return one line of JSON; values that are not finite become null."""
        if self.SEALED:
            return json.dumps(self.to_values(), separators=(",", ":"))
        return f'{{"{VERSION}":{self.SCHEMA},{self.model_dump_json()[1:]}'

    @classmethod
    def _first_fault(cls, error: ValidationError) -> str:
        """Say what is wrong with the first field that is, with the nearest name of an unknown one."""
        fault = error.errors()[0]
        place = shortened(plain(".".join(map(str, fault["loc"])))) or "it"
        if fault["type"] == "extra_forbidden":
            known = cls.model_fields if len(fault["loc"]) == 1 else {}
            return f'unknown key "{place}"{nearest(place, known)}'
        return f"{place}: {shortened(plain(fault['msg']), 300)}"

    @classmethod
    def _other_version(cls, version: object) -> str:
        known = f"this citune reads schema {cls.SCHEMA} of a {cls.TITLE}"
        if not isinstance(version, int) or isinstance(version, bool):
            return f"names no schema, as files of an older citune: {known}; {cls.REMEDY}"
        if version > cls.SCHEMA:
            return f"has schema {version}: {known}; a newer citune would read it"
        return f"has schema {version}: {known}; {cls.REMEDY}, or use the citune that wrote it"


class NamedRecord(Record):
    """A sealed record that holds its own file's name, so that another's is not taken for it."""

    SEALED: ClassVar[bool] = True
    name: str
    """Name of the file, without its suffix."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; raises `InputError` for one that holds no such record, or another file's."""
        record = cls.from_json(path.read_bytes(), str(path))
        if record.name != path.stem:
            raise DamagedError(
                f"{path} must hold its own {cls.TITLE}, and holds that of {record.name}"
            )
        return record


def parse_json(content: str | bytes, source: str) -> Any:
    """Parse JSON; raises `DamagedError` that names `source` for anything that is none."""
    try:
        return json.loads(content, object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise DamagedError(f"{source} must hold JSON, but is no UTF-8 text: {error}") from error
    except RecursionError as error:
        raise DamagedError(f"{source} must hold JSON, but is nested too deeply") from error
    except ValueError as error:
        raise DamagedError(f"{source} must hold JSON, but {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the mapping of a JSON object, whose keys must differ: of two, one would vanish."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shown(twice)} is written twice")
    return values


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _difference(given: Any, kept: Any, place: str = "") -> str:
    """Describe the first given value that a record did not keep as it was; empty if it kept all."""
    if isinstance(given, Mapping) and isinstance(kept, Mapping):
        known = {str(name): value for name, value in kept.items()}
        for name, value in given.items():
            here = f"{place}.{name}".lstrip(".")
            if str(name) not in known:
                return f'unknown key "{shortened(plain(here))}"{nearest(name, known)}'
            if fault := _difference(value, known[str(name)], here):
                return fault
        return ""
    if isinstance(given, list | tuple) and isinstance(kept, list | tuple):
        if len(given) != len(kept):
            return f"{place} must be a list of {len(kept)}"
        pairs = enumerate(zip(given, kept, strict=True))
        return next((f for n, (a, b) in pairs if (f := _difference(a, b, f"{place}.{n}"))), "")
    both = isinstance(given, int | float) and isinstance(kept, int | float)
    same = both and isinstance(given, bool) == isinstance(kept, bool) and given == kept
    if same or given is kept or (isinstance(given, str) and given == kept):
        return ""
    undefined = given is None and isinstance(kept, float) and kept != kept
    return (
        "" if undefined else f"{shortened(plain(place))} has a wrong type or value: {shown(given)}"
    )
