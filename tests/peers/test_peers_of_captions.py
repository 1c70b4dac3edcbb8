"""Metrics of captions, against pycocoevalcap 1.2 and rouge-score, and its words against Java's.

The words differ in fewer than 5 of 2,000 captions of either kind. `caption_words` lists the classes.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable

import pytest

from tasks import AnsweredQuestion, apply_metric
from tasks.scoring.metrics.ptb import caption_words
from tests.peers.generators import CASES, caption, text_caption, varied
from tests.peers.published import package

pytestmark = pytest.mark.peers
KINDS = {"plain": caption, "of texts": text_caption}
needs_java = pytest.mark.skipif(not shutil.which("java"), reason="the tokenizer needs Java")
Texts = dict[int, list[str]]


def cases(kind: Callable[[random.Random], str]) -> tuple[Texts, Texts]:
    """Write answers, and the references of each."""
    draw = random.Random(11)
    references = {}
    for image in range(CASES):
        first = kind(draw)
        references[image] = [first, *(varied(draw, first) for _ in range(draw.randrange(5)))]
    return {image: [varied(draw, own[0])] for image, own in references.items()}, references


def tokenized(texts: Texts) -> Texts:
    java = package("pycocoevalcap.tokenizer.ptbtokenizer").PTBTokenizer()
    cut = java.tokenize({n: [{"caption": text} for text in own] for n, own in texts.items()})
    return {n: [" ".join(text.split()) for text in own] for n, own in cut.items()}


def theirs(name: str, said: Texts, references: Texts) -> tuple[float, list[float]]:
    if name.startswith("bleu"):
        bleu, order = package("pycocoevalcap.bleu.bleu").Bleu(4), int(name[-1]) - 1
        values, each = bleu.compute_score(references, said, verbose=0)
        return values[order], each[order]
    where = {"cider": "cider.cider.Cider", "rouge_l": "rouge.rouge.Rouge"}[name].rpartition(".")
    value, scores = getattr(package(f"pycocoevalcap.{where[0]}"), where[2])().compute_score(
        references, said
    )
    return float(value), scores.tolist()


def answered(said: Texts, references: Texts) -> list[AnsweredQuestion]:
    return [AnsweredQuestion(said[n][0], references[n]) for n in said]


@pytest.mark.parametrize("name", ["cider", "rouge_l", "bleu_1", "bleu_2", "bleu_3", "bleu_4"])
@pytest.mark.parametrize("kind", KINDS)
def test_metrics_of_captions_equal_pycocoevalcaps_on_the_same_words(kind: str, name: str) -> None:
    texts, own = cases(KINDS[kind])
    said = {n: [" ".join(caption_words(text)) for text in one] for n, one in texts.items()}
    references = {n: [" ".join(caption_words(text)) for text in one] for n, one in own.items()}
    value, each = theirs(name, said, references)
    ours = apply_metric(name, answered(texts, own))
    assert ours.value == pytest.approx(value, abs=1e-9)
    assert ours.each == pytest.approx(each, abs=1e-9)
    print(f"\n{name}, pycocoevalcap, {kind}: {CASES} of {CASES} equal")


@needs_java
@pytest.mark.parametrize("kind", KINDS)
def test_words_of_captions_equal_the_java_tokenizers(kind: str) -> None:
    draw = random.Random(12)
    texts = {n: [KINDS[kind](draw)] for n in range(CASES)}
    java = tokenized(texts)
    other = {text for n, (text,) in texts.items() if " ".join(caption_words(text)) != java[n][0]}
    print(f"\nwords, {kind}: {CASES - len(other)} of {CASES} equal; {sorted(other)}")
    assert len(other) < 5
    assert all("L'" in text for text in other)  # the last class that the generator writes


@needs_java
@pytest.mark.parametrize("kind", KINDS)
def test_cider_with_javas_words_is_within_a_thousandth(kind: str) -> None:
    texts, own = cases(KINDS[kind])
    value, _ = theirs("cider", tokenized(texts), tokenized(own))
    ours = apply_metric("cider", answered(texts, own)).value
    print(
        f"\ncider, {kind}: {ours:.5f} against {value:.5f} with Java's words: {ours / value - 1:+.4%}"
    )
    assert ours == pytest.approx(value, rel=1e-3)


def test_rouge_l_of_one_reference_has_the_precision_and_recall_of_rouge_score() -> None:
    """Compare; the package weighs both alike, and pycocoevalcap weighs recall 1.2 times, as ours does."""
    scorer = package("rouge_score.rouge_scorer")
    texts, own = cases(caption)
    for n in texts:
        reference, prediction = own[n][0], texts[n][0]
        score = scorer._score_lcs(caption_words(reference), caption_words(prediction))
        p, r = score.precision, score.recall
        expected = 2.44 * p * r / (r + 1.44 * p) if p else 0.0
        (ours,) = apply_metric("rouge_l", [AnsweredQuestion(prediction, [reference])]).each
        assert ours == pytest.approx(expected)
    print(f"\nrouge_l, rouge-score: {CASES} of {CASES} equal after the weight of recall")
