"""The formulas of answers' metrics, against hand-made numbers and those of published evaluations."""

from __future__ import annotations

import importlib.util
import random

import pytest

from tasks import AnsweredQuestion, apply_metric, score_answers
from tasks.scoring.metrics.edits import distance, nearest
from tasks.scoring.metrics.letters import choice, options_of
from tasks.scoring.metrics.ptb import caption_words
from tasks.scoring.metrics.vqa import evalai_plain, vqa_plain

# Whole texts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "score"),
    [("Zebra", 1), ("  zebra. ", 1), ("zebra?!", 1), ("a zebra", 0), ("zebras", 0), ("", 0)],
)
def test_exact_match_ignores_case_blanks_and_final_punctuation(prediction: str, score: int) -> None:
    assert score_answers("exact_match", [prediction], [["horse", "zebra"]]) == [score]
    assert score_answers("exact_match", ["new  york"], [["New York."]]) == [1]


def test_contains_finds_a_reference_in_a_longer_answer() -> None:
    said = ["It says STOP.", "it says go", ""]
    assert score_answers("contains", said, [["stop", "halt"]] * 3) == [1, 0, 0]


# VQA accuracy -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matches", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)]
)
def test_vqa_accuracy_is_the_mean_over_leave_one_out_subsets_of_ten(
    matches: int, score: float
) -> None:
    references = ["cat"] * matches + ["dog"] * (10 - matches)
    assert score_answers("vqa_accuracy", ["cat"], [references]) == [pytest.approx(score)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_vqa_accuracy_of_few_references_is_one_where_all_agree(count: int) -> None:
    assert score_answers("vqa_accuracy", ["cat"], [["cat"] * count]) == [1.0]
    assert score_answers("vqa_accuracy", ["dog"], [["cat"] * count]) == [0.0]


# What processPunctuation and processDigitArticle of the official evaluation make of these
# (github.com/GT-Vision-Lab/VQA, PythonEvaluationTools/vqaEvaluation/vqaEval.py, c4e6a0e).
OFFICIAL = {
    "The Cat": "cat",
    "two": "2",
    "None": "0",
    "eleven": "eleven",
    "an apple.": "apple",
    "t-shirt": "t shirt",
    "yes, it is": "yes it is",
    "yes,it is": "yes it is",
    "red-white -blue": "redwhite blue",  # one hyphen beside a blank, and all of them vanish
    "1,000": "1000",
    "1,000 t-shirts (red)": "1000 tshirts red",  # a number with a comma, and every mark vanishes
    "3.5": "3.5",
    "3.": "3",
    ".5": ".5",
    "p.m.": "pm",
    "5:30": "5:30",
    "it's": "it's",
    "its": "its",
    "dont know": "don't know",
    "couldnt've": "couldn't've",
    "couldntve": "couldntve",
    "Im": "im",
    "somebody'd": "somebodyd",
    "yall'd've": "y'all'd've",
    "shes": "shes",
    "a / b": "b",
    "ice\ncream": "ice cream",
}


@pytest.mark.parametrize("text", OFFICIAL)
def test_vqa_accuracy_normalises_as_the_official_evaluation(text: str) -> None:
    assert vqa_plain(text) == OFFICIAL[text]


# Captions -----------------------------------------------------------------------------------------

SAID = (
    "a man rides a wave on a surfboard",
    "two dogs run",
    "a red bus parked by a building a red bus",
    "the cat",
)
REFERENCES = (
    ["A man riding a wave on top of a surfboard.", "A surfer rides a large wave."],
    ["Two dogs run across the grass.", "Two brown dogs are running in a field.", "dogs playing"],
    ["A red double-decker bus is parked by a building.", "The bus isn't moving; it's parked."],
    ["A black cat, asleep (on a couch)."],
)
# Printed by pycocoevalcap 1.2 on `SAID` and `REFERENCES` after its own PTBTokenizer:
#     m.compute_score(tokenize(references), tokenize(said)) for m in Cider(), Rouge(), Bleu(4)
PUBLISHED = {
    "cider": (
        1.6638703417865186,
        [2.2856567402452685, 1.9812645124082071, 1.9356797711908285, 0.4528803433017709],
    ),
    "rouge_l": (
        0.5745925056709771,
        [0.7624999999999998, 0.6288659793814433, 0.7439024390243903, 0.16310160427807485],
    ),
    "bleu_1": (
        0.725067866561362,
        [0.9999999998750002, 0.999999999666667, 0.6999999999300001, 0.0150986916960606],
    ),
    "bleu_2": (
        0.6069952858481173,
        [0.8451542546153265, 0.9999999995833336, 0.5577733509638411, 6.752340199052529e-10],
    ),
    "bleu_3": (
        0.4418051297336421,
        [0.4919340733318464, 0.9999999993888895, 0.4268597216146741, 2.396767908167012e-09],
    ),
    "bleu_4": (
        0.2818162148379291,
        [6.985342055472009e-05, 0.03162277658719003, 0.32466791543622264, 4.5155620457122786e-09],
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_caption_metrics_give_the_values_that_pycocoevalcap_prints(name: str) -> None:
    value, each = apply_metric(name, list(map(AnsweredQuestion, SAID, REFERENCES)))
    assert value == pytest.approx(PUBLISHED[name][0], abs=1e-9)
    assert each == pytest.approx(PUBLISHED[name][1], abs=1e-9)


def package(name: str, references: dict, said: dict) -> tuple[float, list[float]]:
    """Return the package's value and its score of each answer."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    if name.startswith("bleu"):
        values, each = Bleu(4).compute_score(references, said, verbose=0)
        order = int(name[-1]) - 1
        return values[order], each[order]
    value, scores = {"cider": Cider, "rouge_l": Rouge}[name]().compute_score(references, said)
    return float(value), scores.tolist()


@pytest.mark.skipif(
    importlib.util.find_spec("pycocoevalcap") is None, reason="pycocoevalcap is not installed"
)
@pytest.mark.parametrize("name", PUBLISHED)
def test_caption_metrics_equal_those_of_pycocoevalcap_where_it_is_installed(name: str) -> None:
    draw = random.Random(name)
    words = "a man dog rides the red bike on street two dogs run".split()

    def text(least: int) -> str:
        return " ".join(draw.choices(words, k=draw.randint(least, 9)))

    for images in range(1, 13):
        references = {i: [text(1) for _ in range(draw.randint(1, 5))] for i in range(images)}
        said = {i: [text(images % 2)] for i in range(images)}
        value, each = package(name, references, said)
        ours = apply_metric(name, [AnsweredQuestion(said[i][0], references[i]) for i in said])
        assert ours.value == pytest.approx(value, abs=1e-9)
        assert ours.each == pytest.approx(each, abs=1e-9)


def test_cider_is_0_for_a_single_image_and_where_all_references_are_the_same() -> None:
    assert score_answers("cider", ["a dog runs"], [["a dog runs"]]) == [0]
    assert score_answers("cider", ["a dog runs"] * 2, [["a dog runs"]] * 2) == [0, 0]


def test_rouge_l_weights_recall_above_precision() -> None:
    # Common: the cat on the mat (5 words of 6 and 5): precision 5/6, recall 1.
    scores = score_answers("rouge_l", ["the cat sat on the mat"], [["the cat on the mat"]])
    assert scores == [pytest.approx((1 + 1.44) * (5 / 6) / (1 + 1.44 * 5 / 6))]
    # Order counts: only one word of "b a" follows another of "a b".
    assert score_answers("rouge_l", ["b a"], [["a b"]]) == [pytest.approx(0.5)]
    assert score_answers("rouge_l", ["A red, car!"], [["blue boat", "a red car"]]) == [1.0]


# What PTBTokenizer of pycocoevalcap 1.2 makes of these.
TOKENIZED = {
    "A man riding a wave on top of a surfboard.": "a man riding a wave on top of a surfboard",
    "Two dogs' leashes; a man's hat -- don't touch!": (
        "two dogs leashes a man 's hat do n't touch"
    ),
    'a t-shirt with the number 23, and "hello" on it': (
        "a t-shirt with the number 23 and hello on it"
    ),
    "a half-eaten sandwich (on a plate) & a cup": (
        "a half-eaten sandwich -lrb- on a plate -rrb- & a cup"
    ),
    "It's a 3.5-inch disk, costs $1,000.50 or 20%": (
        "it 's a 3.5-inch disk costs $ 1,000.50 or 20 %"
    ),
    "can't won't I'm we're they've she'd": "ca n't wo n't i 'm we 're they 've she 'd",
    "a bottle of Coca-Cola/Pepsi": "a bottle of coca-cola/pepsi",
    "woman\u2019s café in Zürich": "woman 's café in zürich",
    "photo of #1 fan @ game": "photo of # 1 fan @ game",
    "A 1970's car ... and -": "a 1970 's car and",
    "A sign reads 'stop'": "a sign reads stop",
    "a man [standing]": "a man -lsb- standing -rsb-",
    "plan B. The dog on plan B. and a cup": "plan b the dog on plan b. and a cup",
    "he is 5'10. '09, '10:45' and '90s": "he is 5 10 09 10:45 and '90s",
    "info@x.com, https://a.org/b: fb.com/a?b=1&c my-site.com": (
        "info@x.com, https://a.org/b: fb.com/a?b=1&c my-site com"
    ),
    "b2b.net 4th.of pp. 12 fig. 2 fig. x": "b2b.net 4th of pp. 12 fig. 2 fig x",
    "\u2665\u2605 \u00d7 \u2192": "\u2665 \u2605 \u00d7 \u2192",
}


@pytest.mark.parametrize("text", TOKENIZED)
def test_captions_are_cut_into_the_words_of_the_penn_treebank_tokenizer(text: str) -> None:
    assert " ".join(caption_words(text)) == TOKENIZED[text]


# Edit distance ------------------------------------------------------------------------------------


def test_the_edit_distance_is_levenshteins() -> None:
    assert [distance(*pair) for pair in (("kitten", "sitting"), ("", "abc"), ("ab", "ba"))] == [
        *(3, 3, 2)
    ]


@pytest.mark.parametrize(
    ("prediction", "references", "score"),  # printed by `anls_score` of the package anls 0.0.2
    [
        ("hello", ["helo", "world"], 0.8),
        ("Total: 1,234.50", ["1,234.50"], 0.5333333333333333),
        ("april  2nd 1993", ["April 2nd, 1993", "02/04/1993"], 0.9333333333333333),
        ("abcd", ["abxx"], 0.0),
        ("itc limited", ["ITC Ltd", "itc"], 0.6363636363636364),
        ("", ["x"], 0.0),
    ],
)
def test_anls_gives_the_values_that_the_package_prints(
    prediction: str, references: list[str], score: float
) -> None:
    assert score_answers("anls", [prediction], [references]) == [pytest.approx(score, abs=1e-12)]


def test_the_nearest_answer_is_near_enough_and_nearer_than_all_others() -> None:
    answers = ("tiger", "zebra", "Tigress")
    assert nearest("A tigre", answers) is None  # 4 of 7 letters differ from both
    assert nearest("tigres", answers) == "Tigress"
    assert nearest("zebras!", answers) == "zebra"
    assert nearest("horse", answers) is None
    assert nearest("", answers) is None
    assert nearest("bat", ("cat", "hat")) is None  # as near to one as to the other


# Multiple choice ----------------------------------------------------------------------------------

QUESTION = "Which is it?\nA. a cat\nB. a dog\nC. Both of them"


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        *((said, "B") for said in ("B", "b", "(B)", "B.", " B) ", "B. a dog", "(B) a dog", "b:")),
        *((f"{lead} B", "B") for lead in ("The answer is", "Answer:", "The answer is option")),
        ("The answer is B.", "B"),
        ("The correct option is (C) because", "C"),
        ("a dog", "B"),
        ("A dog.", "B"),
        ("both of them", "C"),
        ("A cat and a dog", None),
        ("the answer is A or the answer is B", None),
        ("dogs", None),
        ("", None),
    ],
)
def test_the_letter_is_read_in_all_wordings(text: str, letter: str | None) -> None:
    assert choice(text, options_of(QUESTION)) == letter


def test_options_are_found_in_lines_and_in_a_row() -> None:
    expected = {"A": "a cat", "B": "a dog", "C": "Both of them"}
    assert options_of(QUESTION) == expected
    assert options_of("Which? (A) a cat (B) a dog (C) Both of them\nAnswer.") == expected
    assert options_of("Who is A. Turing?") == {}


def test_multiple_choice_takes_a_letter_or_its_text_and_references_of_both_kinds() -> None:
    said = ["(B)", "a dog", "A", "cow"]
    for right in (["B"], ["a dog"], ["B", "a dog"]):
        answered = [AnsweredQuestion(text, right, QUESTION) for text in said]
        assert apply_metric("multiple_choice", answered).each == [1, 1, 0, 0]


OPTIONS = {"A": "lion", "B": "cat", "C": "a dog"}


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        *[
            (text, "B")
            for text in ("B", "(B)", "[B]", "b.", "**B**", "B.", "answer: b", "Answer: B")
        ],
        *[("The correct answer is **C**", "C"), ("B because it purrs", "B"), ("B\nbecause", "B")],
        *[("B - cat", "B"), ("b) cat", "B"), ("Cat (B)", "B"), ("The answer is B.", "B")],
        *[("Answer: A cat", "B"), ("The best option is A cat", "B"), ("a dog", "C"), ("dog", "C")],
        *[("The answer is I do not know", None), ("A horse", None), ("D", None), ("I", None)],
        *[("The answer is A or B", None), ("", None)],
    ],
)
def test_a_letter_is_distinguished_from_an_article_and_read_in_many_forms(
    said: str, letter: str | None
) -> None:
    assert choice(said, OPTIONS) == letter


def test_options_are_found_in_small_letters_too() -> None:
    assert options_of("Which? (a) cat (b) dog") == {"A": "cat", "B": "dog"}


@pytest.mark.parametrize(
    ("said", "references", "score"),
    [
        ("two", ["two"] * 9 + ["3"], 1.0),  # since 2021 both sides are normalised
        ("dog", ["the dog"] * 3 + ["dog"] + ["cat"] * 6, 1.0),
        (
            "Yes.",
            ["yes"] * 10,
            1.0,
        ),  # 0 in the official code, which compares equal answers as they are
    ],
)
def test_references_are_normalised_as_answers_are(
    said: str, references: list[str], score: float
) -> None:
    assert score_answers("vqa_accuracy", [said], [references]) == [pytest.approx(score)]


# Printed by EvalAIAnswerProcessor of lmms-eval 0.7.3.
EVALAI = {
    "Dog's bowl": "dog 's bowl",
    "1,000": "1000",
    "yes, it is?": "yes it is",
    "The two-way street": "2 way street",
    "U.S.A.": "usa",
    "dont": "don't",
    "$3.50": "$3.50",
}


@pytest.mark.parametrize("text", EVALAI)
def test_evalai_normalises_as_its_own_tokenizer(text: str) -> None:
    assert evalai_plain(text) == EVALAI[text]
    assert score_answers("vqa_evalai", [text], [[EVALAI[text]] * 10]) == [1.0]
