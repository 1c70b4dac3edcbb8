"""Metrics of captions: CIDEr-D, BLEU and ROUGE-L, equal to those of `pycocoevalcap` 1.2.

The package is not a dependency: it brings 104 MB of Java archives for three small formulas, and the
licence of its BLEU forbids redistribution. `caption_words` stands for its tokenizer, a Java program.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from tasks.scoring.metrics.metric import AnsweredQuestion, Scores, mean
from tasks.scoring.metrics.ptb import caption_words

ORDER = 4
"""The longest n-gram, of CIDEr and BLEU alike."""
SIGMA = 6.0
"""Width of CIDEr-D's Gaussian penalty on lengths that differ."""
BETA = 1.2
"""Weight of recall against precision in ROUGE-L."""

Gram = tuple[str, ...]
Grams = Counter[Gram]


# CIDEr-D (Vedantam et al. 2015) -------------------------------------------------------------------


def cider(answered: Sequence[AnsweredQuestion]) -> Scores:
    """Score the agreement of n-grams, weighted by their rarity among the references, from 0 to 10.

    The rarity of an n-gram is log(images / images whose references hold it). For a single image, or if
    all have the same references, it is 0, and so is the score.
    """
    predictions = [_grams(caption_words(one.prediction)) for one in answered]
    references = [[_grams(caption_words(r)) for r in one.references] for one in answered]
    images = Counter(gram for own_references in references for gram in set().union(*own_references))
    rarity = {gram: math.log(len(answered) / count) for gram, count in images.items()}
    unseen = math.log(len(answered)) if answered else 0.0

    def weighed(grams: Grams) -> list[dict[Gram, float]]:
        return [
            {g: n * rarity.get(g, unseen) for g, n in grams.items() if len(g) == order}
            for order in range(1, ORDER + 1)
        ]

    each = [
        10
        * mean([_agreement(weighed(predicted), predicted, weighed(r), r) for r in own_references])
        for predicted, own_references in zip(predictions, references, strict=True)
    ]
    return Scores(mean(each), each)


def _agreement(
    predicted: Sequence[dict[Gram, float]],
    said_grams: Grams,
    reference: Sequence[dict[Gram, float]],
    reference_grams: Grams,
) -> float:
    """Average over the orders a cosine in which no n-gram counts more often than in the reference."""
    # The length is that of the bigrams, as in the package.
    gap = _size(said_grams, 2) - _size(reference_grams, 2)
    penalty = math.exp(-(gap**2) / (2 * SIGMA**2))
    return penalty * mean([_cosine(a, b) for a, b in zip(predicted, reference, strict=True)])


def _cosine(predicted: dict[Gram, float], reference: dict[Gram, float]) -> float:
    norms = math.hypot(*predicted.values()) * math.hypot(*reference.values())
    shared = predicted.keys() & reference.keys()
    product = math.fsum(min(predicted[gram], reference[gram]) * reference[gram] for gram in shared)
    return product / norms if norms else 0.0


# BLEU (Papineni et al. 2002) ----------------------------------------------------------------------


def bleu(order: int) -> Callable[[Sequence[AnsweredQuestion]], Scores]:
    """Make the metric BLEU up to n-grams of `order`, with one count over all answers.

    The brevity penalty uses the closest reference length.
    """

    def scores(answered: Sequence[AnsweredQuestion]) -> Scores:
        counts = [_bleu_counts(one, order) for one in answered]
        total = [sum(column) for column in zip(*counts, strict=True)]
        each = [_bleu_of(count) for count in counts]
        return Scores(_bleu_of(total) if counts else math.nan, each)

    return scores


def _bleu_counts(one: AnsweredQuestion, order: int) -> list[int]:
    """Count [length, reference length, matches of order 1, guesses of order 1, matches of order 2, ...]."""
    words = caption_words(one.prediction)
    references = [caption_words(reference) for reference in one.references]
    predicted, most = _grams(words), Counter[Gram]()
    for reference in references:
        most |= _grams(reference)  # the larger count of each
    closest = min((abs(len(r) - len(words)), len(r)) for r in references)[1]
    counts = [len(words), closest]
    for n in range(1, order + 1):
        counts += [_size(predicted & most, n), max(0, len(words) - n + 1)]
    return counts


def _bleu_of(counts: Sequence[int]) -> float:
    # The two small numbers are the package's: they keep 0 / 0 at 0, and are part of its values.
    small, tiny = 1e-9, 1e-15
    length, closest, *pairs = counts
    order = len(pairs) // 2
    precision = math.prod((pairs[2 * n] + tiny) / (pairs[2 * n + 1] + small) for n in range(order))
    ratio = (length + tiny) / (closest + small)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    return precision ** (1 / order) * brevity


# ROUGE-L (Lin 2004) -------------------------------------------------------------------------------


def rouge_l(prediction: str, references: Sequence[str]) -> float:
    """Score the F measure of the longest common subsequence: best precision and recall over references.

    The time grows with the product of both lengths, by 64 words at a time.
    """
    words = caption_words(prediction)
    others = [other for reference in references if (other := caption_words(reference))]
    if not words or not others:
        return 0.0
    common = [_longest_common(words, other) for other in others]
    precision = max(common) / len(words)
    recall = max(n / len(other) for n, other in zip(common, others, strict=True))
    if not precision:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def _longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence.

    All of `one` is advanced at once, as bits of a number (Hyyrö 2004): 0 where a length begins.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(one)) - 1
    state = full
    for word in other:
        matched = state & places.get(word, 0)
        state = ((state + matched) | (state - matched)) & full
    return len(one) - state.bit_count()


def _grams(words: Sequence[str]) -> Grams:
    """Count each n-gram of 1 to `ORDER` words."""
    return Counter(
        tuple(words[i : i + n]) for n in range(1, ORDER + 1) for i in range(len(words) - n + 1)
    )


def _size(grams: Grams, order: int) -> int:
    """Count the n-grams of one order, repetitions included."""
    counts: Iterable[int] = (count for gram, count in grams.items() if len(gram) == order)
    return sum(counts)
