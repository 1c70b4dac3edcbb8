"""Contract tests that train a strategy's stages on the toy benchmark, in about a minute each."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import yaml

from spaces.domains import Value
from strategies import Queries, Strategy
from strategies.testing import StrategyContract, stage_context
from trainables.config import TrialConfig
from trainables.store.records import TrainedRecord
from trainables.store.stage_store import StageStore
from trainables.testing.toy import blobs, config, walked
from trainables.testing.toy_trials import ORDERINGS, ToyTrials, toy_trials, without_strategy
from trainables.trial import PanelTrial


def published(trial: PanelTrial, *record_types: str) -> dict[str, str]:
    """Return the SHA-256 of all tensors in a trial's store by key, of some types of record only."""
    keys = [path.stem for path in (trial.store.root / "records").rglob("*.json")]
    records = {key: trial.store.get(key) for key in keys}
    return {
        key: record.blob.sha256
        for key, record in records.items()
        if record and record.blob and (not record_types or record.KIND in record_types)
    }


class TrainedStrategyContract(StrategyContract):
    """All tests of a strategy: those of its declaration, and those that train it."""

    @pytest.fixture
    def trials(self, tmp_path_factory: pytest.TempPathFactory) -> ToyTrials:
        """Return the toy trials of this session."""
        return toy_trials(tmp_path_factory.getbasetemp() / "toy-trials")

    @pytest.fixture
    def trial(
        self, strategy: type[Strategy], example: dict[str, Value], trials: ToyTrials
    ) -> PanelTrial:
        """Return the strategy's trial through two stages in two orders."""
        return trials.trained(strategy, example)

    def test_a_configuration_survives_json_and_yaml(
        self, strategy: type[Strategy], example: dict[str, Value], trials: ToyTrials
    ) -> None:
        before = trials.config(strategy, example)
        for write, read in ((json.dumps, json.loads), (yaml.safe_dump, yaml.safe_load)):
            after = TrialConfig.from_dict(read(write(before.to_dict())))
            assert after == before
            assert after.fresh_strategy() == before.strategy

    def test_it_trains_with_finite_weights_and_learns(self, trial: PanelTrial) -> None:
        assert len(set(blobs(trial))) == len({stage.key for stage in trial.stages})
        for stage in trial.stages:
            assert all(w.isfinite().all() for w in trial.store.tensors(stage.key).values())
            record = trial.store.get(stage.key)
            assert isinstance(record, TrainedRecord)
            assert record.last_loss < record.first_loss
        # Fewer weights than the toy's adapter has learn less: then one of the stages must do.
        same = trial.config.adapter == config().adapter
        learned = trial.paths[:1] if same else trial.paths
        best = max(score for path in learned for score in trial.scores[path].values())
        assert best > max(trial.scores[()].values())

    def test_a_worker_that_served_others_before_trains_the_same_to_the_last_bit(
        self,
        strategy: type[Strategy],
        example: dict[str, Value],
        trial: PanelTrial,
        trials: ToyTrials,
        tmp_path: Path,
    ) -> None:
        chosen, runner = trials.config(strategy, example), trials.used_runner(tmp_path)
        again = walked(trials.toy.walk(chosen, tmp_path, ORDERINGS[1], runner=runner))
        assert all(stage.trained for stage in again.stages)
        assert again.matrices() == trial.matrices()[1:]
        assert published(again, "trained").keys() == {stage.key for stage in again.stages}
        assert published(again).items() <= published(trial).items()

    def test_stopped_after_the_first_stage_another_worker_goes_on_to_the_same_end(
        self,
        strategy: type[Strategy],
        example: dict[str, Value],
        trial: PanelTrial,
        trials: ToyTrials,
        tmp_path: Path,
    ) -> None:
        chosen = trials.config(strategy, example)
        trials.toy.walk(chosen, tmp_path, ORDERINGS[0]).step()
        torch.manual_seed(1234)  # a stage depends on nothing that was drawn before
        resumed = walked(trials.toy.walk(chosen, tmp_path, ORDERINGS[0]))
        trained = [stage.trained for stage in resumed.stages]
        assert trained == [False, True][: len(resumed.paths)]
        assert resumed.matrices() == trial.matrices()[:1]
        assert blobs(resumed) == blobs(trial)[: len(resumed.paths)]
        assert published(resumed).items() <= published(trial).items()

    def test_after_a_first_stage_that_finetune_trained_it_keeps_and_trains_the_same(
        self,
        strategy: type[Strategy],
        example: dict[str, Value],
        trial: PanelTrial,
        trials: ToyTrials,
        tmp_path: Path,
    ) -> None:
        """`consolidate` is then called on an instance that saw no training."""
        chosen = trials.config(strategy, example)
        trials.toy.walk(without_strategy(chosen), tmp_path, ORDERINGS[0]).step()
        shared = walked(trials.toy.walk(chosen, tmp_path, ORDERINGS[0]))
        assert blobs(shared) == blobs(trial)[: len(shared.paths)]
        assert published(shared, "kept").items() <= published(trial, "kept").items()
        assert shared.matrices() == trial.matrices()[:1]

    def test_switched_off_it_is_finetune_to_the_last_bit(
        self,
        strategy: type[Strategy],
        example: dict[str, Value],
        trials: ToyTrials,
        tmp_path: Path,
    ) -> None:
        """Train with all hooks in place rather than take finetune's stages from a store."""
        if not strategy.off_knobs():
            pytest.skip("it has no knobs that switch it off")
        expected = trials.finetuned()
        for number, off in enumerate(strategy.off_knobs()):
            chosen = trials.config(strategy, {**example, **off}, epochs=1)
            store = tmp_path / str(number)
            trial = walked(trials.toy.walk(chosen, store, runner=trials.used_runner(store)))
            assert all(stage.trained for stage in trial.stages)
            assert blobs(trial) == blobs(expected), chosen.strategy
            assert [s.key for s in trial.stages] == [s.key for s in expected.stages]
            assert trial.matrices() == expected.matrices()

    def test_in_half_precision_with_zero_2_its_weights_are_finite_too(
        self, strategy: type[Strategy], example: dict[str, Value], trials: ToyTrials
    ) -> None:
        store = trials.root / "half-precision"  # one for all strategies: shared stages train once
        chosen = trials.config(strategy, example, epochs=1, precision="bf16", zero=2)
        trial = walked(trials.toy.walk(chosen, store, runner=trials.used_runner(store)))
        for stage in trial.stages:
            weights = trial.store.tensors(stage.key)
            assert all(w.isfinite().all() and w.dtype == torch.float32 for w in weights.values())
            record = trial.store.get(stage.key)
            assert isinstance(record, TrainedRecord)
            assert math.isfinite(record.last_loss)
        for path in trial.paths[:-1]:
            for _, key in trial.lineage.kept(path):
                assert all(value.isfinite().all() for value in trial.store.tensors(key).values())

    def test_what_it_keeps_of_a_stage_survives_the_store(self, trial: PanelTrial) -> None:
        strategy = trial.config.strategy
        # Experts are routed by what they keep of the last stage too.
        paths = (
            trial.paths
            if strategy.has_experts
            else [path for path in trial.continued_paths if path]
        )
        expected = {key for path in paths for _, key in trial.lineage.kept(path)}
        assert set(published(trial, "kept")) == expected
        keeps = strategy.consolidation_knobs() is not None
        assert bool(expected) is (keeps and len(trial.paths) > 1)
        reopened = StageStore(trial.store.root)
        for key in expected:
            kept = reopened.tensors(key)
            assert kept
            assert all(value.isfinite().all() for value in kept.values())
            start = reopened.tensors(trial.key((("hue",),)))
            fresh = trial.config.fresh_strategy()
            fresh.prepare(start, [kept], stage_context(("hue",), new="light"))
            if strategy.has_experts:
                queries = Queries(torch.randn(3, 32), torch.randn(3, 32))
                assert fresh.route(queries, [kept], None) == [0, 0, 0]
