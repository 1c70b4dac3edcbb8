"""Base class of everything that is written to disk as JSON or YAML and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from spaces.errors import DamagedError, InputError, nearest
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
        if version != cls.SCHEMA:
            raise InputError(f"{source} {cls._other_version(version)}")
        if cls.SEALED:
            check_seal(values, source, cls.REMEDY)
        marks = cls.MARKS if cls.SEALED else (VERSION,)
        fields = {name: value for name, value in values.items() if name not in marks}
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise DamagedError(
                f"{source} must hold a {cls.TITLE} of schema {cls.SCHEMA}; {cls._first_fault(error)}"
            ) from error

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
        place = ".".join(map(str, fault["loc"])) or "it"
        if fault["type"] == "extra_forbidden":
            known = cls.model_fields if len(fault["loc"]) == 1 else {}
            return f'unknown key "{place}"{nearest(place, known)}'
        return f"{place}: {fault['msg']}"

    @classmethod
    def _other_version(cls, version: object) -> str:
        known = f"this citune reads schema {cls.SCHEMA} of a {cls.TITLE}"
        if not isinstance(version, int):
            return f"names no schema, as files of an older citune: {known}; {cls.REMEDY}"
        if version > cls.SCHEMA:
            return f"has schema {version}: {known}; a newer citune would read it"
        return f"has schema {version}: {known}; {cls.REMEDY}, or use the citune that wrote it"


def parse_json(content: str | bytes, source: str) -> Any:
    """Parse JSON; raises `DamagedError` that names `source` for anything that is none."""
    try:
        return json.loads(content)
    except UnicodeDecodeError as error:
        raise DamagedError(f"{source} must hold JSON, but is no UTF-8 text: {error}") from error
    except RecursionError as error:
        raise DamagedError(f"{source} must hold JSON, but is nested too deeply") from error
    except ValueError as error:
        raise DamagedError(f"{source} must hold JSON, but {error}") from error
