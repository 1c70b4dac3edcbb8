"""Each file of a model folder missing, cut, replaced: refused with one error, or loaded as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from families import write_model
from small import png
from toy import Toy

from models.batching import Encoded, encode
from models.folder.weights import check_weights
from models.loading import load_base
from models.location import model_folder
from models.processors import load_processor
from spaces import InputError
from spaces.loading import Loading
from tasks.data.rows import Example

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9\n"
EXAMPLE = Example("one", (png(1, 48),), "<image>\nWhat is it?", "red", ("red",))
Damage = Callable[[Path], object]


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGES: dict[str, Damage] = {
    "missing": Path.unlink,
    "halved": halve,
    "emptied": lambda file: file.write_bytes(b""),
    "pointer": lambda file: file.write_text(POINTER),
    "bytes": lambda file: file.write_bytes(b"\xff\xfe\x00\x01" * 9),
    "list": lambda file: file.write_text("[1, 2]"),
    "number": lambda file: file.write_text("3"),
    "null": lambda file: file.write_text("null"),
    "object": lambda file: file.write_text("{}"),
}
VALUES = (None, "text", -1, [], {})


def opened(folder: Path) -> tuple[dict[str, torch.Tensor], Encoded]:
    """Return weights and an encoded example, after every check that a search makes."""
    folder = model_folder(folder)
    check_weights(folder)
    processor = load_processor(folder)
    return load_base(folder, Loading()).state_dict(), encode(processor, EXAMPLE)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def damaged_files(folder: Path) -> Iterator[tuple[str, Path, Damage]]:
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        for name, damage in DAMAGES.items():
            yield f"{file.relative_to(folder)} {name}", file, damage


def damaged_settings(file: Path, values: tuple[Any, ...]) -> Iterator[tuple[str, Path, Damage]]:
    """Yield each setting of a JSON file without its value, and with other ones."""
    whole = json.loads(file.read_text())

    def write(inside: tuple[str, ...], name: str, *value: Any) -> Damage:
        changed = json.loads(json.dumps(whole))
        place = changed
        for step in inside:
            place = place[step]
        del place[name]
        place |= {name: value[0]} if value else {}
        return lambda file: file.write_text(json.dumps(changed))

    places = [((), whole)] + [((n,), v) for n, v in whole.items() if isinstance(v, dict)]
    for inside, settings in places:
        for name in settings:
            yield f"{file.name} without {'.'.join((*inside, name))}", file, write(inside, name)
            for value in values:
                text = f"{file.name} {'.'.join((*inside, name))}={value!r}"
                yield text, file, write(inside, name, value)


def tried(folder: Path, cases: Iterator[tuple[str, Path, Damage]], tmp: Path) -> tuple[int, int]:
    """Try all cases; return how many were refused, and how many were loaded as before."""
    weights, example = opened(folder)
    refused = equal = 0
    for number, (name, file, damage) in enumerate(cases):
        copy = shutil.copytree(folder, tmp / str(number))
        damage(copy / file.relative_to(folder))
        try:
            got, encoded = opened(copy)
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 1500, f"{name}: {error}"
            refused += 1
        except Exception as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
        else:
            assert same(got, weights), f"{name}: other weights"
            if " without " not in name and "=" not in name:
                assert all(torch.equal(encoded.prompt[n], v) for n, v in example.prompt.items()), (
                    name
                )
                assert torch.equal(encoded.answer, example.answer), name
            equal += 1
        shutil.rmtree(copy)
    print(f"{refused} refused, {equal} loaded as before", end=" ")
    return refused, equal


def test_damaged_files_of_a_llava_are_refused_or_make_no_difference(
    toy: Toy, tmp_path: Path
) -> None:
    cases = (c for c in damaged_files(toy.model) if not c[0].endswith(("number", "null")))
    refused, equal = tried(toy.model, cases, tmp_path)
    assert refused > 35 and equal >= 1  # generation needs no configuration


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llava", "instructblip", "qwen2_5_vl", "paligemma"])
def test_damaged_files_and_settings_of_families(family: str, tmp_path: Path) -> None:
    folder = write_model(family, tmp_path / "whole")
    refused, _ = tried(folder, damaged_files(folder), tmp_path)
    settings = damaged_settings(folder / "config.json", VALUES)
    more, _ = tried(folder, settings, tmp_path)
    assert refused > 40 and more > 40
