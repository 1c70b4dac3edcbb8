from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy import PROMPTS, Toy, config, walked

from models.lmm import LMM
from models.text_encoder import (
    AT_ONCE,
    SentenceEncoder,
    TextEncoder,
    TokenMean,
    check_text_encoder,
    text_encoder_fingerprint,
)
from spaces import InputError
from trainables.local import Local
from trainables.panel import Panel
from trainables.stages import StageStore
from trainables.walk import Walk

WORDS = "what color is it light or dark which half of this picture the colored one please".split()
TEXTS = ["what color is it", "what color is this", "which half of the picture please", "dark"]
WIDTH = 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights and a tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    root = tmp_path_factory.mktemp("encoder") / "bert"
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=16, **marks
    ).save_pretrained(root)
    torch.manual_seed(0)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 64, "max_position_embeddings": 16}
    BertModel(
        BertConfig(
            vocab_size=len(names),
            num_hidden_layers=2,
            num_attention_heads=4,
            initializer_range=0.5,
            **sizes,
        )
    ).save_pretrained(root)
    return root


@pytest.fixture(scope="module", params=["tokens", "sentences"])
def encoder(request: pytest.FixtureRequest, toy: Toy, folder: Path) -> TextEncoder:
    if request.param == "sentences":
        return SentenceEncoder(folder)
    lmm = LMM(toy.model)
    return TokenMean(lmm.processor.tokenizer, lmm.token_embeddings)


def test_every_vector_is_of_length_1_and_hangs_on_its_text_alone(encoder: TextEncoder) -> None:
    whole = encoder.encode(TEXTS)
    assert (whole.dtype, whole.device.type, whole.dim()) == (torch.float32, "cpu", 2)
    assert whole.norm(dim=1).tolist() == pytest.approx([1.0] * len(TEXTS), abs=1e-6)
    for row, text in enumerate(TEXTS):
        assert torch.allclose(encoder.encode([text])[0], whole[row], atol=1e-5)
    assert not whole.requires_grad


def test_alike_texts_are_nearer(encoder: TextEncoder) -> None:
    first, near, far, _ = encoder.encode(TEXTS)
    assert float(first @ near) > float(first @ far)


def test_more_texts_than_are_read_at_once_keep_their_order(encoder: TextEncoder) -> None:
    many = [TEXTS[number % 3] for number in range(AT_ONCE + 7)]
    found, three = encoder.encode(many), encoder.encode(TEXTS[:3])
    assert len(found) == len(many)
    for number, vector in enumerate(found):
        assert torch.allclose(vector, three[number % 3], atol=1e-5)


def test_the_mean_of_tokens_is_that_of_their_embeddings(toy: Toy) -> None:
    lmm = LMM(toy.model)
    encoder = TokenMean(lmm.processor.tokenizer, lmm.token_embeddings)
    ids = lmm.processor.tokenizer("what color", add_special_tokens=False)["input_ids"]
    mean = lmm.base.get_input_embeddings().weight[ids].mean(0)
    (found,) = encoder.encode(["what color"])
    assert torch.allclose(found, mean / mean.norm(), atol=1e-6)
    assert encoder.encode([""]).tolist() == [[0.0] * 32]


def test_a_sentence_is_the_mean_of_its_outputs_without_the_padding(folder: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    inputs = AutoTokenizer.from_pretrained(folder)(TEXTS[3], return_tensors="pt")
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state
    expected = torch.nn.functional.normalize(states[0].mean(0), dim=0)
    padded = SentenceEncoder(folder).encode(TEXTS)[3]
    assert torch.allclose(padded, expected, atol=1e-5)


def test_a_text_beyond_the_models_positions_is_cut(folder: Path) -> None:
    long = SentenceEncoder(folder).encode([" ".join(WORDS * 3), " ".join(WORDS * 5)])
    assert torch.allclose(long[0], long[1], atol=1e-6)


# Folders -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("*.safetensors", r"a config.json, a tokenizer and \*.safetensors.*has no \*.safetensors"),
        ("config.json", "which has no config.json"),
        ("tokenizer*", "which has no tokenizer$"),
        ("*", "which has no config.json and no tokenizer and no"),
    ],
)
def test_a_folder_that_lacks_something_is_an_input_error(
    removed: str, message: str, folder: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    for file in broken.glob(removed):
        file.unlink()
    with pytest.raises(InputError, match=message):
        SentenceEncoder(broken)


def test_no_folder_and_one_of_something_else_are_input_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'got ".*nowhere", which is none'):
        check_text_encoder(tmp_path / "nowhere")
    check_text_encoder(folder)
    strange = Path(shutil.copytree(folder, tmp_path / "strange"))
    (strange / "config.json").write_text('{"model_type": "no_such_model"}')
    with pytest.raises(InputError, match="must be a folder that AutoModel and AutoTokenizer read"):
        SentenceEncoder(strange)


def test_the_fingerprint_is_of_the_contents(folder: Path, tmp_path: Path) -> None:
    assert text_encoder_fingerprint("") == ""
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    assert text_encoder_fingerprint(folder) == text_encoder_fingerprint(str(other)) != ""
    (other / "config.json").write_text((other / "config.json").read_text() + " ")
    assert text_encoder_fingerprint(folder) != text_encoder_fingerprint(other)


def test_a_worker_looks_examples_up_with_it(toy: Toy, folder: Path, tmp_path: Path) -> None:
    place = replace(toy.place(tmp_path), text_encoder=str(folder))
    setting = replace(toy.setting(), text_encoder=text_encoder_fingerprint(folder))
    chosen = config({"name": "eproj", "key_steps": 200, "key_rate": 0.02}, epochs=1)
    walk = walked(
        Walk(chosen, Panel((("hue", "light"),)), setting, StageStore(tmp_path), Local(place))
    )
    encoder = SentenceEncoder(folder)
    for task, key in walk.lineage.signed():
        signature = walk.store.tensors(key)
        (expected,) = encoder.encode([PROMPTS[task]])
        assert torch.allclose(signature["instruction"], expected, atol=1e-5)
        assert signature["image"].shape == (32,)
    for path in walk.paths:
        ((task, key),) = walk.lineage.kept(path)
        assert walk.store.tensors(key)["instruction"].shape == (WIDTH,)
    assert walk.matrices("retrieval_accuracy")[0].row(2) == {"hue": 1.0, "light": 1.0}
