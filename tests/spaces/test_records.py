from __future__ import annotations

from typing import ClassVar

import pytest

from spaces import InputError
from spaces.records import Record


class Point(Record):
    TITLE: ClassVar[str] = "point"
    SCHEMA: ClassVar[int] = 2
    x: float
    name: str = ""


def test_a_written_record_is_read_back() -> None:
    point = Point(x=1.5, name="a")
    assert Point.from_json(point.to_json(), "p.json") == point
    assert Point.from_values(point.to_values(), "p.json") == point


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "must hold a point, got list"),
        ("{", "must hold JSON, but"),
        ('{"x": 1}', "names no schema"),
        ('{"schema": 1, "x": 1}', "has schema 1: this citune reads schema 2 of a point; write it"),
        ('{"schema": 3, "x": 1}', "has schema 3: this citune reads schema 2 of a point; a newer"),
        ('{"schema": 2}', "must hold a point of schema 2; x: Field required"),
        ('{"schema": 2, "x": 1, "z": 2}', '2; unknown key "z"'),
        ('{"schema": 2, "x": 1, "nam": ""}', 'unknown key "nam" — did you mean "name"?'),
        ('{"schema": 2, "x": "no"}', "x: Input should be a valid number"),
    ],
)
def test_anything_else_is_one_message_that_names_the_file(content: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        Point.from_json(content, "p.json")
    assert str(error.value).startswith("p.json ")
    assert message in str(error.value)
