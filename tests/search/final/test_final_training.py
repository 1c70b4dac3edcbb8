from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from readme import assert_says_the_same

from models.batching import encode
from models.lmm import LMM
from search.final.adapter_export import save_model
from search.final.final_training import _comparable, _held_out_orderings
from spaces import Adapter, InputError
from tasks import load_benchmark
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.panel import Panel

ONE_PART = ("connector", "lm_lora")


@pytest.mark.parametrize("family", ["toy", "toy_instructblip"])
@pytest.mark.parametrize(
    "parts", [*(pytest.param(p, marks=pytest.mark.slow) for p in ONE_PART), "connector+lm_lora"]
)
def test_a_saved_model_loads_in_plain_transformers_and_peft_as_its_readme_says(
    family: str, parts: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    toy = request.getfixturevalue(family)
    lmm = LMM(toy.model)
    lmm.adapt(Adapter(parts=parts, rank=4, alpha_per_rank=0.6), seed=0)
    torch.manual_seed(5)
    weights = {n: p + 0.1 * torch.randn(p.shape) for n, p in lmm.initial().items()}
    save_model(lmm, weights, tmp_path / "saved", ("hue", "light"))
    assert (tmp_path / "saved" / "connector.safetensors").exists() == ("connector" in parts)
    assert (tmp_path / "saved" / "adapter").exists() == ("lm_lora" in parts)
    (tmp_path / "mine").touch()  # as the user's umask says; the library writes for the owner alone
    usual = (tmp_path / "mine").stat().st_mode
    assert {f.stat().st_mode for f in (tmp_path / "saved").rglob("*.safetensors")} == {usual}
    rows = load_benchmark(toy.benchmark).task("hue").examples("test")[:2]
    examples = [encode(lmm.processor, row) for row in rows]
    assert_says_the_same(tmp_path / "saved", lmm, examples, tmp_path)


def test_first_stages_are_compared_with_those_of_whole_orderings() -> None:
    order, nan = ("a", "b", "c"), float("nan")
    rows = [[0.1, 0.1, 0.1], [0.9, nan, nan], [0.7, 0.8, nan], [0.5, 0.6, 0.4]]
    whole = ScoreMatrix(order, np.array(rows))
    assert _comparable(whole, whole) == (whole, whole)
    begun = ScoreMatrix(order[:2], np.array([[0.1, 0.1], [0.9, nan], [0.7, 0.8]]))
    ours, theirs = _comparable(whole, begun) or (None, None)
    assert ours == theirs == begun
    other = ScoreMatrix(order[:2], np.array([[0.1, 0.1], [0.9, nan], [0.7, 0.9]]))
    ours, theirs = _comparable(whole, other) or (None, None)
    assert ours != theirs
    # A search of first stages scores more tasks at its end than a whole ordering does there.
    cheap = ScoreMatrix(order, np.array([*rows[:2], [nan, 0.8, nan], rows[3]]))
    ours, theirs = _comparable(cheap, begun) or (None, None)
    assert ours == theirs and ours is not None and np.isnan(ours.values[2, 0])
    joint = ScoreMatrix(order, np.array([rows[0], [nan] * 3, [nan] * 3, rows[3]]))
    assert _comparable(joint, ScoreMatrix(order[:2], joint.values[[0, 1, 3], :2])) is None


def test_orderings_of_the_search_are_left_out_with_a_line_on_the_screen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    panel = Panel((("a", "b", "c"), ("c", "b", "a")))
    assert _held_out_orderings(panel, None) == ()
    assert _held_out_orderings(panel, "given+b>a>c") == (("b", "a", "c"),)
    assert capsys.readouterr().out == "not held out, because the search used it: a>b>c\n"
    with pytest.raises(InputError, match=r"must differ from the search's.*a>b>c; c>b>a"):
        _held_out_orderings(panel, "given+reverse")
