from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from readme import assert_says_the_same

from models.batching import encode
from models.lmm import LMM
from search.final.adapter_export import save_model
from search.final.final_training import _others
from spaces import Adapter, InputError
from tasks import load_benchmark
from trainables.panel import Panel


@pytest.mark.parametrize("family", ["toy", "toy_instructblip"])
@pytest.mark.parametrize("parts", ["connector", "lm_lora", "connector+lm_lora"])
def test_what_is_saved_loads_in_plain_transformers_and_peft_as_its_readme_says(
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
    rows = load_benchmark(toy.benchmark).task("hue").examples("test")[:2]
    examples = [encode(lmm.processor, row) for row in rows]
    assert_says_the_same(tmp_path / "saved", lmm, examples, tmp_path)


def test_held_out_orderings_that_the_search_knew_are_left_out_aloud(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found: Any = SimpleNamespace(panel=Panel((("a", "b", "c"), ("c", "b", "a"))))
    assert _others(found, None) == ()
    assert _others(found, "given+b>a>c") == (("b", "a", "c"),)
    assert capsys.readouterr().out == "left out, for the search knew it: a>b>c\n"
    with pytest.raises(InputError, match=r"must be other than the search's.*a>b>c; c>b>a"):
        _others(found, "given+reverse")
