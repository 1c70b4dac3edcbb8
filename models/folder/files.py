"""Text files of a model folder: whole, readable, and no pointers to files that were never fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spaces.errors import InputError, first_line

LOADED = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
"""Files that are fetched from a hub: no pickles, no code."""
SUBFOLDERS = ("qformer_tokenizer", "additional_chat_templates")
"""Folders inside a model folder that transformers reads, too."""
OBJECTS = frozenset(
    {
        *("config.json", "generation_config.json", "processor_config.json"),
        *("preprocessor_config.json", "video_preprocessor_config.json", "chat_template.json"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
        *("added_tokens.json", "vocab.json"),
        *("model.safetensors.index.json", "adapter_config.json"),
    }
)
"""JSON files that transformers reads; each must hold an object."""
WORDS = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
"""Files of a tokenizer's vocabulary. Without any, transformers may make a tokenizer without words."""
TOKENIZER = "tokenizer_config.json"
WORD_LISTS = ("merges.txt", "vocab.txt")
POINTER = b"version https://git-lfs"


def loaded_files(folder: Path) -> list[Path]:
    """Return the files that transformers may read, sorted by their path."""
    places = [folder, *(folder / name for name in SUBFOLDERS)]
    return sorted({file for place in places for pattern in LOADED for file in place.glob(pattern)})


def check_files(folder: Path) -> None:
    """Raise `InputError` for a file that is a git-lfs pointer, empty or not what its name says.

    Weights are left to their own check, for only some of them may be read.
    """
    for file in loaded_files(folder):
        if file.suffix == ".safetensors":
            continue
        check_fetched(file)
        if file.name in OBJECTS:
            json_object(file)
        elif file.suffix in (".jinja", ".txt"):
            text_of(file)
        if file.suffix in (".jinja", ".model") or file.name in (*OBJECTS, *WORD_LISTS):
            check_filled(file)
    if not any(any(folder.glob(words)) for words in WORDS):
        raise InputError(
            f'the model folder "{folder}" must hold a tokenizer with its vocabulary (tokenizer.json, '
            "vocab.json with merges.txt, or tokenizer.model); it does not. Copy it from the original model"
        )
    for place in (folder, folder / SUBFOLDERS[0]):
        if place.is_dir():
            _check_tokenizer(place)


def _check_tokenizer(place: Path) -> None:
    """Raise `InputError` for a tokenizer of no named class: transformers then takes a general one."""
    file = place / TOKENIZER
    if not file.is_file():
        raise InputError(
            f'"{place}" must hold {TOKENIZER}, without which texts are split otherwise; it does not. '
            "Copy it from the original model"
        )
    named = json_object(file).get("tokenizer_class")
    if not (isinstance(named, str) and named):
        raise InputError(
            f'"{file}" must name its tokenizer_class, without which texts are split otherwise, got '
            f"{_shortened(named)}. Copy the file from the original model"
        )


def check_fetched(file: Path) -> None:
    """Raise `InputError` for a file that cannot be read, or a pointer that git-lfs has not replaced."""
    try:
        with file.open("rb") as opened:
            start = opened.read(len(POINTER))
    except OSError as error:
        raise InputError(f'"{file}" must be readable: {first_line(error)}') from error
    if start == POINTER:
        raise InputError(
            f'"{file}" must be the file itself, and is a git-lfs pointer to it: run `git lfs pull` in '
            "the folder it came from, or fetch the model from the hub again"
        )


def check_filled(file: Path) -> None:
    """Raise `InputError` for an empty file."""
    if not file.stat().st_size:
        raise InputError(f'"{file}" must not be empty, and is; copy it again')


def text_of(file: Path) -> str:
    """Return a file's text, which must be UTF-8 without a byte order mark, as transformers reads it."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'"{file}" must be UTF-8 text: {first_line(error)}') from error
    if text.startswith("\ufeff"):
        raise InputError(
            f'"{file}" must begin without a byte order mark (BOM), which transformers does not read; '
            "save it as plain UTF-8"
        )
    return text


def json_object(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file; raise `InputError` for anything else."""
    check_fetched(file)
    check_filled(file)
    try:
        value = json.loads(text_of(file))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f'"{file}" must be readable JSON: {first_line(error)}; copy it again'
        ) from error
    if not isinstance(value, dict):
        raise InputError(f'"{file}" must hold a JSON object, got {_shortened(value)}')
    return value


def folder_config(folder: Path) -> dict[str, Any]:
    """Return the contents of the folder's config.json."""
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(
            f'the model folder "{folder}" must hold a config.json; it does not{models_inside(folder)}'
        )
    return json_object(path)


def models_inside(folder: Path) -> str:
    """Return a hint at folders inside that do hold a model, the newest checkpoint last."""
    found = sorted(_folders_of_models(folder), key=lambda inner: (len(inner.name), inner.name))
    if not found:
        return ""
    names = ", ".join(f'"{inner}"' for inner in found[-3:])
    parent = "it looks like the output folder of a training, and holds "
    return f"; {parent}{len(found)} that would do: {names}"


def _folders_of_models(folder: Path) -> Iterator[Path]:
    """Yield folders inside that hold a config.json: checkpoints, or snapshots of the hub's cache."""
    for pattern in ("*/config.json", "snapshots/*/config.json"):
        yield from (file.parent for file in folder.glob(pattern))


def _shortened(value: object, most: int = 60) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[:most]} ..."
