"""Chat templates: found where transformers finds them, and refused before any worker starts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small import png
from toy import Toy

from models.batching import prompt_text
from models.family import family_of
from models.folder.chat_template import dropped_texts, template_notes
from models.processors import load_processor
from spaces import InputError
from tasks.data.rows import Example

EXAMPLE = Example("one", (png(1, 48),), "<image>\nWhat is it?", "red", ("red",))
NAMES = ("tokenizer", "named", "json", "processor")


@pytest.fixture
def folder(toy: Toy, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy.model, tmp_path / "model"))


def add(file: Path, **values: object) -> None:
    whole = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(whole | values))


def move(folder: Path, place: str) -> None:
    """Move the template to another place where transformers looks."""
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    if place == "tokenizer":
        add(folder / "tokenizer_config.json", chat_template=template)
    elif place == "named":
        several = [{"name": "tool_use", "template": "?"}, {"name": "default", "template": template}]
        add(folder / "tokenizer_config.json", chat_template=several)
    elif place == "json":
        add(folder / "chat_template.json", chat_template=template)
    else:
        add(folder / "processor_config.json", chat_template=template)


@pytest.mark.parametrize("place", NAMES)
def test_a_template_is_found_wherever_transformers_looks(folder: Path, place: str) -> None:
    expected = prompt_text(load_processor(folder), EXAMPLE)
    assert expected.endswith("<answer>")
    move(folder, place)
    processor = load_processor(folder)
    assert prompt_text(processor, EXAMPLE) == expected
    assert not template_notes(folder, processor, family_of("llava"))


def test_a_family_with_templates_is_never_asked_plainly(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match=r"LLaVA is asked in a chat template, and .* has none"):
        load_processor(folder)
    several = [{"name": "rag", "template": "?"}]
    add(folder / "tokenizer_config.json", chat_template=several)
    with pytest.raises(
        InputError, match=r'tokenizer_config.json" must have .*"default".*names rag'
    ):
        load_processor(folder)


def test_a_template_that_does_not_parse_names_its_file(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] ")
    with pytest.raises(InputError, match=r'chat_template.jinja" must parse, and does not: line 1'):
        load_processor(folder)


def test_a_template_that_refuses_a_role_names_file_row_and_roles(folder: Path) -> None:
    file = folder / "chat_template.jinja"
    refuses = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    )
    file.write_text(refuses + file.read_text())
    processor = load_processor(folder)
    assert prompt_text(processor, EXAMPLE)
    with pytest.raises(
        InputError, match=r"chat_template.jinja.* example one \(roles system, user; 1"
    ):
        prompt_text(processor, replace(EXAMPLE, system="Be short."))


def test_a_template_that_is_not_used_is_said(folder: Path) -> None:
    add(folder / "tokenizer_config.json", chat_template="{{ messages }}")
    notes = template_notes(folder, load_processor(folder), family_of("llava"))
    assert notes == [
        "the chat template differs from the one in tokenizer_config.json, which is not used"
    ]


def test_a_template_that_leaves_texts_out_or_writes_the_date_is_told(folder: Path) -> None:
    turns = {"system": "Be short.", "earlier": "before", "prompt": "What <image> now?"}
    parts = {name: [text] for name, text in turns.items()}
    assert dropped_texts("USER: before What <image>now? ASSISTANT:", parts) == ["system"]
    assert dropped_texts("USER: ASSISTANT:", parts) == ["system", "earlier", "prompt"]
    template = folder / "chat_template.jinja"
    template.write_text("{{ strftime_now('%d %b %Y') }}" + template.read_text())
    (note,) = template_notes(folder, load_processor(folder), family_of("llava"))
    assert "writes the date" in note
