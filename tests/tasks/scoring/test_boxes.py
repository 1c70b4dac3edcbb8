"""The metrics of numbers and boxes: what is read of an answer, and where it is right."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from one_row import example
from PIL import Image

from tasks import score_answers
from tasks.formats.values.boxes import with_boxes
from tasks.scoring.metrics.boxes import box, overlap


@pytest.mark.parametrize(
    ("prediction", "reference", "score"),
    [
        *(
            (said, "100", right)
            for said, right in (("95", 1), ("105", 1), ("94.9", 0), ("-100", 0))
        ),
        ("12%", "0.12", 1),
        ("0.125", "12%", 1),
        ("5", "five", 0),
        ("Five ", "five", 1),
        ("yes.", "yes", 0),
        ("0", "0", 1),
        ("0.0", "0", 0),
        ("1,000", "1000", 0),
        ("nan", "nan", 1),
    ],
)
def test_relaxed_accuracy_lets_a_number_be_5_percent_off_and_a_text_not_at_all(
    prediction: str, reference: str, score: int
) -> None:
    assert score_answers("relaxed_accuracy", [prediction], [["x", reference]]) == [score]


@pytest.mark.parametrize(
    "text",
    [
        "[0.1,0.2,0.5,0.9]",
        "The box is [0.1, .2, 0.5, 9e-1].",
        "(0.1, 0.2), (0.5, 0.9)",
        "0.1 0.2 0.5 0.9",
        "[[0.1, 0.2], [0.5, 0.9]]",
    ],
)
def test_a_box_is_read_whatever_its_brackets(text: str) -> None:
    assert box(text) == (0.1, 0.2, 0.5, 0.9)


@pytest.mark.parametrize(
    "text",
    [
        "Image 1: [0.1, 0.2, 0.5, 0.9]",
        "1. [0.1, 0.2, 0.5, 0.9]",
        "2) (0.1, 0.2), (0.5, 0.9)",
        "1. 0.1, 0.2, 0.5, 0.9",
        "[1] [0.1, 0.2, 0.5, 0.9]",
        "In 2023, the 3 boxes: [0.1, 0.2, 0.5, 0.9] and [0, 0, 1, 1]",
        "[[0.1, 0.2, 0.5, 0.9], [0, 0, 1, 1]]",
        "[Image 1: 0.1, 0.2, 0.5, 0.9]",
        "<box>(0.1,0.2),(0.5,0.9)</box>",
        "<0.1><0.2><0.5><0.9>",
        '{"bbox_2d": [0.1, 0.2, 0.5, 0.9], "label": "a 3"}',
        "[1e-1, 2.0E-1, 5e-01, +0.9]",
        "[0.1; 0.2; 0.5; 0.9]",
        "[0.1\n0.2\n0.5\n0.9",
        "[0.1, 0.2, 0.5, 0.9, 0.87]",
        "a < 5: [0.1, 0.2, 0.5, 0.9]",
        "\uff3b0.1\uff0c0.2\uff0c0.5\uff0c0.9\uff3d",
    ],
)
def test_a_box_in_brackets_comes_before_all_other_numbers(text: str) -> None:
    assert box(text) == (0.1, 0.2, 0.5, 0.9)


def test_numbers_that_are_no_box_are_none_and_all_units_are_read_as_they_stand() -> None:
    for text in (
        "2024-01-02-03",
        "1.2.3.4",
        "10:20:30:40",
        "[0, 0, 1]",
        "[0,0,1e999,1]",
        "[1,0,0,1]",
    ):
        assert box(text) is None, text
    assert box("[-3, -2.5, 10, 1000]") == (-3, -2.5, 10, 1000)
    assert score_answers("grounding_accuracy", ["[100,200,500,900]"], [["[.1,.2,.5,.9]"]]) == [0]
    assert overlap((0, 0, 1e-200, 1e-200), (0, 0, 1e-200, 1e-200)) == 0


def test_grounding_asks_for_an_overlap_of_half_the_union() -> None:
    assert overlap((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert overlap((0, 0, 1, 1), (2, 2, 3, 3)) == 0
    said = ["[0, 0, 1, 0.5]", "[0, 0, 1, 0.49]", "[1, 1, 0, 0]", "[0, 0, 1]", "there"]
    scores = score_answers("grounding_accuracy", said, [["[0, 0, 1, 1]"]] * 5)
    assert scores == [1, 0, 0, 0, 0]
    assert score_answers("grounding_accuracy", ["[0,0,1,1]"], [["[5,5,6,6]", "[0,0,1,1]"]]) == [1]


@pytest.mark.parametrize("unit", ["real", "norm1000", "norm1"])
@pytest.mark.parametrize("least", [0.0002, 0.1])
def test_a_box_of_a_row_is_read_by_the_metric_as_it_was_written(
    unit: str, least: float, tmp_path: Path
) -> None:
    draw, size = random.Random(0), (4_000, 3_000)
    scale = {"real": size, "norm1000": (1_000, 1_000), "norm1": (1, 1)}[unit]
    image = io.BytesIO()
    Image.new("1", size).save(image, "PNG")
    for _ in range(5):
        x, y = draw.uniform(0, 0.8), draw.uniform(0, 0.8)
        shares = (x, y, x + least * draw.uniform(1, 2), y + least * draw.uniform(1, 2))
        sides = [share * whole for share, whole in zip(shares, scale * 2, strict=True)]
        row = {"query": "<image>Find it", "response": "<bbox>", "images": ["0.png"]}
        row |= {"objects": {"bbox": [sides], "bbox_type": unit}}
        answer = with_boxes(example(row, tmp_path), lambda _: image.getvalue()).answer
        reference = "[" + ", ".join(f"{share:.9f}" for share in shares) + "]"
        assert score_answers("grounding_accuracy", [answer], [[reference]]) == [1.0]
        assert box(answer) == pytest.approx(shares, abs=max(0.0006, least / 2))
