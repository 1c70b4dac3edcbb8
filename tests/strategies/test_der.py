from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from stored import kept
from toy import Toy, blobs, config, walked

from strategies import DER, ExampleId, Outputs, StageContext, Tensors
from strategies.outputs import ENDED
from trainables.rank.engine import set_weights
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

ANSWERS = torch.tensor([[0, 1], [2, ENDED], [1, 1]])
PICKS = [("b", 0), ("a", 3), ("b", 1)]
"""The second is of an earlier task; its answer has one token."""
SECOND = StageContext(("b",), (("a",),))


def said(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(seed))


def shuffled(task: str) -> Sequence[int]:
    return [3, 1, 0, 2]


class GivenLogits:
    """Learner whose model has given logits for each token of a row's answer."""

    def __init__(self, lengths: dict[int, int]) -> None:
        self.lengths = lengths

    def shuffled(self, task: str) -> Sequence[int]:
        return shuffled(task)

    def outputs(self, picks: Sequence[ExampleId], batch_size: int) -> Iterator[Outputs]:
        for i in range(0, len(picks), batch_size):
            batch = picks[i : i + batch_size]
            width = max(self.lengths[row] for _, row in batch)
            logits = torch.stack([torch.full((width, 4), row + 0.1) for _, row in batch])
            answers = torch.full((len(batch), width), ENDED)
            for place, (_, row) in enumerate(batch):
                answers[place, : self.lengths[row]] = 1
            yield Outputs(batch, logits, answers)


def prepared(stored: torch.Tensor, context: StageContext = SECOND, **knobs: float) -> DER:
    """Return DER++ before a stage whose memory is row 3 of `a`, with these logits (tokens, words)."""
    strategy = DER(**{"ratio": 0.3} | knobs)
    kept = {"rows": torch.tensor([3]), "lengths": torch.tensor([len(stored)]), "logits": stored}
    strategy.prepare({}, [kept], context)
    strategy.mix([("b", 0), ("b", 1)], {"a": 4}, shuffled)
    return strategy


def nll(row: int, logits: torch.Tensor) -> float:
    within = ANSWERS[row] != ENDED
    chances = torch.log_softmax(logits[row][within], dim=-1)
    return -float(sum(chances[t, a] for t, a in enumerate(ANSWERS[row][within].tolist())))


# What is paid ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 0.5), (2.0, 0.0), (0.0, 2.0), (0.5, 1.0)])
def test_the_memorys_loss_weighs_its_logits_and_its_answers(alpha: float, beta: float) -> None:
    stored, logits = torch.tensor([[1.0, -1.0, 0.5, 2.0]]), said()
    outputs = Outputs(PICKS, logits, ANSWERS)
    strategy = prepared(stored, alpha=alpha, beta=beta)
    paid = strategy.distil(outputs)
    assert paid is not None
    square = float(((logits[1, 0] - stored[0]) ** 2).sum()) / 4
    whole = nll(0, logits) + nll(2, logits) + alpha * square + beta * nll(1, logits)
    assert float(outputs.nll() + paid) == pytest.approx(whole, rel=1e-5)


def test_a_batch_of_new_examples_has_no_further_loss() -> None:
    strategy = prepared(torch.zeros(1, 4))
    assert strategy.distil(Outputs(PICKS[:1], said()[:1], ANSWERS[:1])) is None


def test_the_memory_is_trained_again() -> None:
    strategy = DER(ratio=0.3)
    strategy.prepare({}, [], StageContext(("b",)))
    mixed = strategy.mix([("b", 0)], {"a": 4, "c": 10}, lambda task: range({"a": 4, "c": 10}[task]))
    assert mixed == [("b", 0), ("a", 0), ("c", 0), ("c", 1), ("c", 2)]
    assert strategy.mix([("b", 0)], {}, shuffled) == [("b", 0)]


@pytest.mark.parametrize(
    ("knobs", "kept", "acts"),
    [({}, True, True), ({"alpha": 0}, False, True), ({"ratio": 0}, False, False)],
)
def test_logits_are_kept_only_if_they_are_used(knobs: dict, kept: bool, acts: bool) -> None:
    strategy = DER(**knobs)
    assert (strategy.consolidation_knobs() is not None) is kept
    assert bool(strategy.effective(SECOND)) is acts
    assert strategy.effective(StageContext(("a",))) == {}


# What is kept ------------------------------------------------------------------------------------


def test_logits_of_the_memorys_rows_are_kept_one_after_the_other() -> None:
    kept = DER(ratio=0.3).consolidate(GivenLogits({3: 2, 1: 1, 0: 3, 2: 9}), "a", 10)
    assert kept["rows"].tolist() == [3, 1, 0]
    assert kept["lengths"].tolist() == [2, 1, 3]
    assert kept["logits"].dtype == torch.float16
    expected = [3.1, 3.1, 1.1, 0.1, 0.1, 0.1]
    assert kept["logits"][:, 0].tolist() == pytest.approx(expected, rel=1e-3)


def test_an_empty_memory_survives_the_store(tmp_path: Path) -> None:
    empty = DER(ratio=0.01).consolidate(GivenLogits({}), "a", 4)
    store = StageStore(tmp_path)
    store.put("a" * 40, kept(), empty)
    strategy = DER(ratio=0.01)
    strategy.prepare({}, [store.tensors("a" * 40)], SECOND)
    assert strategy.logits == {}
    assert strategy.mix([("b", 0)], {"a": 4}, shuffled) == [("b", 0)]
    assert strategy.distil(Outputs(PICKS, said(), ANSWERS)) is None


@pytest.fixture(scope="module")
def walk(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> PanelTrial:
    chosen = config({"name": "der", "ratio": 0.3}, epochs=1)
    return walked(toy.walk(chosen, tmp_path_factory.mktemp("der")))


def test_the_kept_logits_are_the_models_at_the_end_of_the_stage(walk: PanelTrial) -> None:
    kept: Tensors = walk.store.tensors(walk.job(walk.paths[1]).kept_before[0])
    worker = walk.runner.worker
    rows = worker.rank_context.data.shuffled("hue")[:7]
    assert kept["rows"].tolist() == rows
    set_weights(worker.rank_context.lmm, walk.store.tensors(walk.key(walk.paths[0])))
    for row, logits in zip(rows, kept["logits"].split(kept["lengths"].tolist()), strict=True):
        (encoded,) = worker.rank_context.data.training([("hue", row)])
        now, answers = worker.rank_context.lmm.inference_logits([encoded])
        assert logits.shape == now[0].shape == (len(answers[0]), now.shape[-1])
        assert torch.allclose(logits.float(), now[0], rtol=2**-10, atol=1e-3)


def test_a_stage_counts_the_examples_it_read_and_their_logits_as_memory(walk: PanelTrial) -> None:
    job, worker = walk.job(walk.paths[1]), walk.runner.worker
    plan = worker._stage_batches(job, walk.config, walk.config.fresh_strategy(), {})
    seen = {pick for batch in plan for pick in batch if pick[0] == "hue"}
    memory = walk.store.get(walk.stages[1].key).memory
    assert memory == worker.rank_context.data.memory_size(seen)
    assert 0 < memory["examples"] <= 7
    kept = walk.store.get(job.kept_before[0]).blob.bytes
    assert walk.metrics()["stored_bytes"] == memory["bytes"] + kept
    assert walk.metrics()["added_parameters"] == 0


def test_without_logits_and_with_the_whole_loss_it_is_replay_to_the_last_bit(
    toy: Toy, tmp_path: Path
) -> None:
    plain = config({"name": "der", "ratio": 0.3, "alpha": 0, "beta": 1.0}, epochs=1)
    der = walked(toy.walk(plain, tmp_path / "der"))
    replay = walked(toy.walk(config({"name": "replay", "ratio": 0.3}, epochs=1), tmp_path))
    assert blobs(der) == blobs(replay)


def test_a_stronger_alpha_keeps_the_model_nearer_to_its_logits(toy: Toy, tmp_path: Path) -> None:
    def away(alpha: float) -> float:
        knobs = {"name": "der", "ratio": 0.3, "alpha": alpha, "beta": 0.0}
        made = walked(toy.walk(config(knobs), tmp_path))
        job, worker = made.job(made.paths[1]), made.runner.worker
        strategy = made.config.fresh_strategy()
        strategy.prepare({}, [made.store.tensors(key) for key in job.kept_before], job.context)
        set_weights(worker.rank_context.lmm, made.store.tensors(made.key(made.paths[1])))
        total = 0.0
        for pick, before in strategy.logits.items():
            now, _ = worker.rank_context.lmm.inference_logits(
                worker.rank_context.data.training([pick])
            )
            total += float((now[0] - before.float()).square().mean(-1).sum())
        return total

    assert away(1e-3) > away(0.1) > away(10.0)
