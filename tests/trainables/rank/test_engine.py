"""Engines come and go on one model, which none of them may hold on to."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
from toy import Toy, config

from trainables.rank.engine import open_engine

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


@pytest.mark.parametrize("zero", [0, 1, 2, 3])
def test_an_engine_that_is_closed_leaves_neither_hooks_nor_itself(
    toy: Toy, tmp_path: Path, zero: int
) -> None:
    chosen = config(zero=zero)
    worker: Any = toy.walk(chosen, tmp_path).runner.worker
    worker.rank_context.adapt(chosen)
    lmm, engines, counts = worker.rank_context.lmm, [], []
    for _ in range(3):
        with open_engine(lmm, chosen.training, 1, lmm.initial(), 2) as engine:
            batch = worker.rank_context.data.training([("hue", 0), ("hue", 1)])
            logits, _ = engine.answer_logits(batch)
            engine.backward(logits.square().mean())
            engine.step()
            engines.append(weakref.ref(engine._engine))
        del engine, logits
        modules = list(lmm.model.modules())
        counts.append(sum(len(getattr(m, name)) for m in modules for name in HOOKS))
    gc.collect()
    assert counts[0] == counts[2]
    assert [engine() for engine in engines[:2]] == [None, None]
