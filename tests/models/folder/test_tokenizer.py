"""Tokenizer, settings of answers and pixels of a folder: what would change training in silence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from small import png
from toy import Toy

from models.batching import encode
from models.folder.generation import generation_notes
from models.image_tokens import ImageTokens
from models.lmm import LMM
from models.processors import load_processor
from spaces import InputError
from tasks.data.rows import Example

WORDS = "one two three four five six seven eight nine ten"
EXAMPLE = Example("one", (png(1, 48),), "<image>\nWhat is it?", "red", ("red",))
TEXT = Example("two", (), WORDS, "red", ("red",))


@pytest.fixture
def folder(toy: Toy, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy.model, tmp_path / "model"))


def edit(file: Path, **values: Any) -> None:
    whole = json.loads(file.read_text())
    file.write_text(json.dumps(whole | values))


def edit_images(folder: Path, **values: Any) -> None:
    file = folder / "processor_config.json"
    edit(file, image_processor=json.loads(file.read_text())["image_processor"] | values)


def test_limits_of_an_earlier_training_cut_no_prompt(folder: Path) -> None:
    whole = encode(load_processor(folder), TEXT).prompt["input_ids"].tolist()
    cut = {"direction": "Right", "max_length": 6, "strategy": "LongestFirst", "stride": 0}
    edit(folder / "tokenizer.json", truncation=cut)
    edit(folder / "tokenizer_config.json", max_length=5, truncation=True)
    processor = load_processor(folder)
    assert encode(processor, TEXT).prompt["input_ids"].tolist() == whole
    assert encode(processor, EXAMPLE).length > 6


def test_tokens_without_an_embedding_are_refused(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", eos_token="<|im_end|>")
    with pytest.raises(InputError, match=r"1 have none \(such as '<\|im_end\|>', number \d+\)"):
        load_processor(folder)


def test_a_tokenizer_that_ends_every_text_is_refused(folder: Path) -> None:
    end = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    number = load_processor(folder).tokenizer.eos_token_id
    tokens = {"</s>": {"id": "</s>", "ids": [number], "tokens": ["</s>"]}}
    added = {"type": "TemplateProcessing", "single": [text, end], "pair": [text]}
    edit(folder / "tokenizer.json", post_processor=added | {"special_tokens": tokens})
    with pytest.raises(InputError, match="must not end every text with </s>"):
        load_processor(folder)


def test_answers_are_greedy_whatever_the_folder_prefers(folder: Path) -> None:
    file = folder / "generation_config.json"
    plain = answers(folder)
    assert not generation_notes(folder)
    for other in (
        {"min_new_tokens": 5, "do_sample": True, "temperature": 0.7},
        {"stop_strings": ["a"], "return_dict_in_generate": True, "max_time": 0.001},
        {"eos_token_id": 2, "encoder_repetition_penalty": 2.0},
    ):
        edit(file, **other)
        assert answers(folder) == plain
    file.write_text("{}")
    assert answers(folder) == plain
    edit(file, min_new_tokens=5, temperature=0.7)
    (note,) = generation_notes(folder)
    assert note.endswith("not used: min_new_tokens")


def answers(folder: Path) -> list[str]:
    lmm = LMM(folder)
    return lmm.answers([encode(lmm.processor, EXAMPLE)], 8)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image_std": [0, 0, 0]}, "reach inf"),
        ({"do_rescale": False}, "about -3 to 3"),
        ({"do_resize": False}, "doesn't match model"),
    ],
)
def test_pixels_that_the_model_cannot_take_are_refused(
    folder: Path, settings: dict[str, Any], words: str
) -> None:
    edit_images(folder, **settings)
    encoded = encode(load_processor(folder), EXAMPLE)
    with pytest.raises(InputError, match=words):
        ImageTokens(folder).check(encoded, "row 0")


def test_a_class_that_is_no_processor_is_refused(folder: Path) -> None:
    edit(folder / "processor_config.json", processor_class="FooProcessor")
    with pytest.raises(
        InputError, match=r"processor_class in processor_config\.json must be Llava"
    ):
        load_processor(folder)
