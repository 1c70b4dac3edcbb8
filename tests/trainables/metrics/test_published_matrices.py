"""Score matrices that papers and their authors' logs have published, with the figures printed beside them.

Each author computed the figures from the same cells, under names of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from trainables.metrics.score_matrix import CONTINUAL_METRICS, ScoreMatrix


@dataclass(frozen=True)
class Published:
    """A lower triangle of scores in percent, and its authors' figures by our names of the metrics."""

    source: str
    tasks: tuple[str, ...]
    rows: list[list[float]]
    """Row t: the scores on the tasks learned so far, after stage t."""
    figures: dict[str, float]
    stage_means: list[float] = field(default_factory=list)
    """Mean score of the tasks seen so far, after each stage, where it is printed."""

    def matrix(self) -> ScoreMatrix:
        """Return the matrix; cells that were not printed are undefined."""
        values = np.full((len(self.rows) + 1, len(self.tasks)), math.nan)
        for stage, row in enumerate(self.rows, start=1):
            values[stage, : len(row)] = row
        return ScoreMatrix(self.tasks, values)


UCIT = ("ImageNet-R", "ArxivQA", "VizWiz", "IconQA", "CLEVR", "Flickr30k")
COIN = ("ScienceQA", "TextVQA", "ImageNet", "GQA")
TRACE = tuple("C-STANCE FOMC MeetingBank Py150 ScienceQA NumGLUE-cm NumGLUE-ds 20Minuten".split())
PUBLISHED = [
    Published(
        "UCIT, LoRA",
        UCIT,
        [
            [90.97],
            [90.38, 92.6],
            [73.9, 86.33, 59.54],
            [75.67, 68.77, 47.34, 53.3],
            [75.1, 74.53, 46.73, 52.3, 69.73],
            [65.77, 71.27, 45.05, 51.2, 49.6, 57.47],
        ],
        {},
        stage_means=[90.97, 91.49, 73.25667, 61.27, 63.678, 56.72667],
    ),
    Published(
        "UCIT, Hyper-LLaVA",
        UCIT,
        [
            [91.73],
            [90.4, 94.23],
            [89.37, 94.07, 61.37],
            [87.07, 94.1, 57.4, 86.0],
            [87.37, 94.27, 56.7, 78.73, 79.7],
            [86.67, 94.0, 58.71, 79.03, 64.33, 58.2],
        ],
        {
            "average_over_stages": 83.27,
            "final_average": 73.49,
            "learning_average": 78.54,
            "backward_transfer": -6.06,
        },
    ),
    Published(
        "UCIT, Hyper-LLaVA, batches of 24",
        UCIT,
        [
            [91.9],
            [91.03, 94.83],
            [89.63, 94.43, 61.77],
            [86.27, 93.87, 57.54, 84.63],
            [85.9, 93.97, 54.6, 76.83, 79.57],
            [86.8, 93.83, 59.06, 76.17, 65.37, 58.19],
        ],
        {
            "average_over_stages": 83.13,
            "final_average": 73.24,
            "learning_average": 78.48,
            "backward_transfer": -6.29,
        },
    ),
    Published(
        "CoIN of 4 tasks, first 10 % replayed",
        COIN,
        [
            [73.26],
            [72.86, 39.03],
            [73.52, 57.56, 4.02],
            [74.13, 55.91, 55.19, 37.9],
        ],
        {
            "average_over_stages": 57.5057,
            "backward_transfer_coin": 17.2306,
            "final_average": 55.7834,
        },
    ),
    Published(
        "CoIN of 4 tasks, first 1 % replayed",
        COIN,
        [
            [73.12],
            [66.52, 53.67],
            [70.29, 45.95, 70.83],
            [61.66, 51.84, 29.6, 41.67],
        ],
        {
            "average_over_stages": 60.4406,
            "backward_transfer_coin": -13.6299,
            "final_average": 46.1925,
        },
    ),
    Published(
        "CoIN of 4 tasks, random 1 % replayed, run 3",
        COIN,
        [
            [73.095968],
            [68.568734, 55.05],
            [65.644895, 46.16, 37.07],
            [54.656921, 50.74, 94.28, 40.76],
        ],
        {
            "average_over_stages": 61.159882,
            "backward_transfer_coin": 8.615238,
            "final_average": 60.10923,
            "learning_average": 51.493992,
        },
    ),
    Published(
        "CoIN of 4 tasks, random 1 % replayed, run 5",
        COIN,
        [
            [72.978071],
            [67.319029, 53.29],
            [70.384343, 46.49, 19.5],
            [69.158217, 50.42, 93.43, 39.39],
        ],
        {
            "average_over_stages": 60.460064,
            "backward_transfer_coin": 16.810037,
            "final_average": 63.099554,
            "learning_average": 46.289518,
        },
    ),
    Published(
        "CoIN of 4 tasks, random 10 % replayed",
        COIN,
        [
            [73.143127],
            [73.449658, 36.55],
            [74.699363, 58.46, 4.67],
            [76.467814, 56.28, 96.53, 36.33],
        ],
        {
            "average_over_stages": 60.122008,
            "backward_transfer_coin": 28.728672,
            "final_average": 66.401954,
            "learning_average": 37.673282,
        },
    ),
    Published(
        "TRACE, sequential tuning",
        TRACE,
        [
            [50.1],
            [47.35, 66.33],
            [47.75, 62.3, 39.73],
            [47.5, 59.68, 37.9, 57.98],
            [48.4, 59.88, 38.4, 54.61, 86.3],
            [47.3, 61.69, 39.4, 56.76, 80.5, 34.57],
            [48.15, 62.5, 39.35, 57.05, 75.1, 23.46, 57.54],
            [42.95, 22.58, 18.85, 6.83, 61.6, 0.0, 0.0, 40.03],
        ],
        {"average_over_stages": 49.31, "backward_transfer": -34.25, "learning_average": 54.07},
        stage_means=[50.1, 56.84, 49.93, 50.76, 57.52, 53.37, 51.88, 24.1],
    ),
    Published(
        "TRACE, MIGU",
        TRACE,
        [
            [50.7],
            [47.85, 54.64],
            [47.25, 35.89, 39.79],
            [47.9, 26.61, 38.75, 55.93],
            [47.95, 22.18, 37.72, 54.08, 81.65],
            [47.45, 33.87, 39.76, 56.16, 80.35, 40.74],
            [47.35, 53.02, 40.08, 57.18, 79.7, 28.4, 51.69],
            [47.45, 30.44, 34.2, 55.06, 80.15, 33.33, 38.15, 39.26],
        ],
        {"average_over_stages": 47.43, "final_average": 44.76, "backward_transfer": -8.05},
    ),
]


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda one: one.source)
def test_the_authors_figures_come_out(published: Published) -> None:
    matrix = published.matrix()
    for name, figure in published.figures.items():
        assert CONTINUAL_METRICS[name](matrix) == pytest.approx(figure, abs=0.0051), name
    for stage, mean in enumerate(published.stage_means, start=1):
        assert matrix.after(stage).final_average() == pytest.approx(mean, abs=0.0051)


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda one: one.source)
def test_backward_transfer_is_the_change_from_learning_to_the_end(published: Published) -> None:
    # BWT = T / (T - 1) (MFN - MFT), and CoIN's divides by T in place of T - 1.
    matrix, count = published.matrix(), len(published.tasks)
    change = matrix.final_average() - matrix.learning_average()
    assert matrix.backward_transfer() == pytest.approx(count / (count - 1) * change)
    assert matrix.backward_transfer_coin() == pytest.approx(change)


def test_two_averages_called_avg_are_ten_points_apart() -> None:
    matrix = PUBLISHED[0].matrix()
    assert matrix.average_over_stages() == pytest.approx(72.8986, abs=1e-4)
    assert matrix.average_over_columns() == pytest.approx(62.7331, abs=1e-4)
