"""Chat template of a model folder, from wherever transformers would find it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from transformers.utils.chat_template_utils import render_jinja_template

from models.family import Family
from models.folder.files import json_object
from spaces.errors import InputError, first_line
from tasks.data.rows import IMAGE

TEMPLATE = "chat_template"
FILES = ("chat_template.json", "chat_template.jinja")
"""A processor's own files, the one that is read first."""
DEFAULT = "default"
TEMPLATES = "additional_chat_templates"
"""Folder of named templates."""


def chat_template(folder: Path, processor: Any, family: Family) -> str | None:
    """Return the processor's template, else the tokenizer's; None if the family is asked plainly.

    Raises `InputError` for a template that cannot be used, or where the family has one by nature and the
    folder has none.
    """
    own = getattr(processor, TEMPLATE, None)
    found = own if own or not family.templated else processor.tokenizer.chat_template
    if not found:
        if family.templated:
            raise InputError(
                f'{family.name} is asked in a chat template, and "{folder}" has none in '
                f"{', '.join(FILES)}, processor_config.json or tokenizer_config.json; copy "
                "chat_template.jinja from the original model"
            )
        return None
    file = template_file(folder)
    template = found.get(DEFAULT) if isinstance(found, dict) else found
    if not isinstance(template, str):
        names = (
            f"names {', '.join(map(str, found))}" if isinstance(found, dict) else f"got {found!r}"
        )
        raise InputError(
            f'"{file}" must have a chat template, or one named "{DEFAULT}" among several; '
            f"{names[:200]}; write the right one to chat_template.jinja"
        )
    _check_syntax(template, file)
    return template


def template_file(folder: Path) -> Path:
    """Return the file that the folder's template comes from: the processor's own, or the tokenizer's."""
    settings = folder / "processor_config.json"
    if settings.is_file() and json_object(settings).get(TEMPLATE) is not None:
        return settings
    names = (*FILES, TEMPLATES)
    found = (folder / name for name in names if (folder / name).exists())
    return next(found, folder / "tokenizer_config.json")


def _check_syntax(template: str, file: Path) -> None:
    """Raise `InputError` for a template that does not parse; other faults show on examples."""
    try:
        render_jinja_template([[]], chat_template=template)
    except jinja2.TemplateSyntaxError as error:
        raise InputError(
            f'the chat template in "{file}" must parse, and does not: line {error.lineno}: '
            f"{first_line(error)}; copy it from the original model"
        ) from error
    except Exception:
        return  # without any turns a template may raise what it wants


def template_notes(folder: Path, processor: Any, family: Family) -> list[str]:
    """Return notes on templates that are in the folder and not used, and on one that writes the date."""
    used, other = processor.chat_template, processor.tokenizer.chat_template
    if used and "strftime_now" in used:
        return [
            "the chat template writes the date into prompts (strftime_now), so that results differ by "
            f"day; a fixed date in {template_file(folder).name} would do"
        ]
    if other and not used:
        return [
            f"{family.name} is asked in plain text: the chat template of the tokenizer alone is not used; "
            "in chat_template.jinja it would be"
        ]
    if not used:
        return []
    names = [name for name in FILES if (folder / name).is_file()]
    settings = folder / "tokenizer_config.json"
    held = json_object(settings).get(TEMPLATE) if settings.is_file() else None
    texts = {name: _text_in(folder / name) for name in names}
    texts |= {"tokenizer_config.json": held} if isinstance(held, str) else {}
    unlike = [name for name, text in texts.items() if text.strip() != used.strip()]
    if not unlike:
        return []
    return [f"the chat template differs from the one in {', '.join(unlike)}, which is not used"]


def _text_in(file: Path) -> str:
    if file.suffix == ".json":
        return str(json_object(file).get(TEMPLATE))
    return file.read_text(encoding="utf-8")


def dropped_texts(rendered: str, texts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of the kinds of texts of which a part does not stand in a rendered prompt."""
    shown = "".join(rendered.split())
    return [name for name, some in texts.items() if not all(_stands(text, shown) for text in some)]


def _stands(text: str, shown: str) -> bool:
    return all("".join(part.split()) in shown for part in text.split(IMAGE))
