from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import PROMPTS, Toy, config, walked

from models.lmm import LMM
from models.text_encoder import (
    BATCH,
    SentenceEncoder,
    TextEncoder,
    TokenMean,
    check_text_encoder,
    text_encoder_fingerprint,
    try_text_encoder,
)
from spaces import InputError
from trainables.lanes.in_process import InProcessRunner
from trainables.panel import Panel
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

WORDS = "what color is it light or dark which half of this picture the colored one please".split()
TEXTS = ["what color is it", "what color is this", "which half of the picture please", "dark"]
WIDTH = 48


MARKS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
POSITIONS = 16


def write_tokenizer(folder: Path, **knobs: Any) -> None:
    """Write a tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    numbers = {name: number for number, name in enumerate([*MARKS.values(), *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **knobs).save_pretrained(folder)


def write_bert(folder: Path, words: int = len(MARKS) + len(WORDS)) -> None:
    """Write a BERT with random weights."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 64, "max_position_embeddings": POSITIONS}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.5}
    BertModel(BertConfig(vocab_size=words, **sizes, **layers)).save_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a sentence encoder and return its folder."""
    root = tmp_path_factory.mktemp("encoder") / "bert"
    write_tokenizer(root, model_max_length=POSITIONS, **MARKS)
    write_bert(root)
    return root


@pytest.fixture(scope="module", params=["tokens", "sentences"])
def encoder(request: pytest.FixtureRequest, toy: Toy, folder: Path) -> TextEncoder:
    if request.param == "sentences":
        return SentenceEncoder(folder)
    lmm = LMM(toy.model)
    return TokenMean(lmm.processor.tokenizer, lmm.token_embeddings)


def test_every_vector_has_length_1_and_depends_on_its_text_alone(encoder: TextEncoder) -> None:
    whole = encoder.encode(TEXTS)
    assert (whole.dtype, whole.device.type, whole.dim()) == (torch.float32, "cpu", 2)
    assert whole.norm(dim=1).tolist() == pytest.approx([1.0] * len(TEXTS), abs=1e-6)
    for row, text in enumerate(TEXTS):
        assert torch.allclose(encoder.encode([text])[0], whole[row], atol=1e-5)
    assert not whole.requires_grad


def test_similar_texts_are_nearer(encoder: TextEncoder) -> None:
    first, near, far, _ = encoder.encode(TEXTS)
    assert float(first @ near) > float(first @ far)


def test_more_texts_than_one_batch_keep_their_order(encoder: TextEncoder) -> None:
    many = [TEXTS[number % 3] for number in range(BATCH + 7)]
    vectors, three = encoder.encode(many), encoder.encode(TEXTS[:3])
    assert len(vectors) == len(many)
    for number, vector in enumerate(vectors):
        assert torch.allclose(vector, three[number % 3], atol=1e-5)


def test_a_text_is_the_mean_of_its_token_embeddings(toy: Toy) -> None:
    lmm = LMM(toy.model)
    encoder = TokenMean(lmm.processor.tokenizer, lmm.token_embeddings)
    ids = lmm.processor.tokenizer("what color", add_special_tokens=False)["input_ids"]
    mean = lmm.base.get_input_embeddings().weight[ids].mean(0)
    (vectors,) = encoder.encode(["what color"])
    assert torch.allclose(vectors, mean / mean.norm(), atol=1e-6)
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


def test_a_tokenizer_needs_neither_a_length_limit_nor_a_padding_token(
    folder: Path, tmp_path: Path
) -> None:
    silent = Path(shutil.copytree(folder, tmp_path / "silent"))
    write_tokenizer(silent, unk_token="[UNK]")
    texts = [*TEXTS, " ".join(WORDS * 3)]
    vectors = SentenceEncoder(silent).encode(texts)
    assert torch.allclose(vectors, SentenceEncoder(folder).encode(texts), atol=1e-5)


def test_an_encoder_decoder_is_used_without_its_decoder(tmp_path: Path) -> None:
    from transformers import T5Config, T5Model

    write_tokenizer(tmp_path, **MARKS)
    sizes = {"d_model": WIDTH, "d_kv": 12, "d_ff": 64, "num_layers": 1, "num_heads": 4}
    T5Model(T5Config(vocab_size=len(MARKS) + len(WORDS), **sizes)).save_pretrained(tmp_path)
    vectors = SentenceEncoder(tmp_path).encode(TEXTS)
    assert vectors.shape == (len(TEXTS), WIDTH)
    assert vectors.isfinite().all()


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


def test_a_missing_folder_and_an_unknown_model_are_input_errors(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r'got ".*nowhere", which is none'):
        check_text_encoder(tmp_path / "nowhere")
    check_text_encoder(folder)
    strange = Path(shutil.copytree(folder, tmp_path / "strange"))
    (strange / "config.json").write_text('{"model_type": "no_such_model"}')
    with pytest.raises(InputError, match="must be a folder that AutoModel and AutoTokenizer read"):
        SentenceEncoder(strange)


def test_an_encoder_is_tried_before_it_is_used(folder: Path, tmp_path: Path) -> None:
    try_text_encoder(folder)
    small = Path(shutil.copytree(folder, tmp_path / "small"))
    write_bert(small, words=2)  # fewer than its tokenizer has
    SentenceEncoder(small)
    with pytest.raises(InputError, match=r"AutoModel and AutoTokenizer read; .* is not: index"):
        try_text_encoder(small)
    cut = Path(shutil.copytree(folder, tmp_path / "cut"))
    (weights,) = cut.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="that AutoModel and AutoTokenizer read"):
        try_text_encoder(cut)


def test_the_fingerprint_is_of_the_contents(folder: Path, tmp_path: Path) -> None:
    assert text_encoder_fingerprint("") == ""
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    assert text_encoder_fingerprint(folder) == text_encoder_fingerprint(str(other)) != ""
    (other / "config.json").write_text((other / "config.json").read_text() + " ")
    assert text_encoder_fingerprint(folder) != text_encoder_fingerprint(other)


def test_a_worker_embeds_tasks_with_it(toy: Toy, folder: Path, tmp_path: Path) -> None:
    worker_spec = replace(toy.worker_spec(tmp_path), text_encoder=str(folder))
    fingerprints = replace(toy.fingerprints(), text_encoder=text_encoder_fingerprint(folder))
    chosen = config({"name": "eproj", "key_steps": 200, "key_rate": 0.02}, epochs=1)
    walk = walked(
        PanelTrial(
            chosen,
            Panel((("hue", "light"),)),
            fingerprints,
            StageStore(tmp_path),
            InProcessRunner(worker_spec),
        )
    )
    encoder = SentenceEncoder(folder)
    for task, key in walk.lineage.embeddings():
        signature = walk.store.tensors(key)
        (expected,) = encoder.encode([PROMPTS[task]])
        assert torch.allclose(signature["instruction"], expected, atol=1e-5)
        assert signature["image"].shape == (32,)
    for path in walk.paths:
        ((task, key),) = walk.lineage.kept(path)
        assert walk.store.tensors(key)["instruction"].shape == (WIDTH,)
    assert walk.matrices("retrieval_accuracy")[0].row(2) == {"hue": 1.0, "light": 1.0}
