"""Rows of the report's section on task similarity and on the experts that answered examples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from strategies.similarity import combine_signals
from trainables.metrics.glossary import RETRIEVAL
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.trial_record import StageCost, TrialRecord


def trial_with_similarities(trials: Iterable[TrialRecord]) -> TrialRecord | None:
    """Return the first trial whose strategy computed task similarities."""
    return next((trial for trial in trials if any(map(_similarities, trial.stages))), None)


def similarity_rows(trial: TrialRecord, ordering: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield (stage, task, start weights, similarities) for each stage of an ordering that has them."""
    signal = next((str(v) for k, v in trial.knobs().items() if k.endswith("signal")), "")
    for stage in trial.stages:
        path, signals = stage.tasks, _similarities(stage)
        if path != tuple((task,) for task in ordering[: len(path)]) or not signals:
            continue
        earlier = list(next(iter(signals.values())))
        values = {name: [of[task] for task in earlier] for name, of in signals.items()}
        product = combine_signals(values, signal) if signal else [math.nan] * len(earlier)
        nearest = sorted(range(len(earlier)), key=lambda i: -product[i])
        texts = [
            f"{earlier[i]} {product[i]:.3f} ({_signals_of(signals, earlier[i])})" for i in nearest
        ]
        yield len(path), ordering[len(path) - 1], _start_weights(trial, stage), ", ".join(texts)


def _similarities(stage: StageCost) -> Mapping[str, Mapping[str, float]]:
    """Return similarities by signal and earlier task; empty if the stage has none."""
    return stage.similarity if any(stage.similarity.values()) else {}


def _signals_of(signals: Mapping[str, Mapping[str, float]], task: str) -> str:
    return ", ".join(f"{name} {of[task]:.2f}" for name, of in signals.items())


def _start_weights(trial: TrialRecord, stage: StageCost) -> str:
    if not is_routed(trial):
        return "the previous stage"
    if not stage.start_task:
        return "the model before any stage, as a new expert"
    return f"{stage.start_task}, {'as a new expert' if stage.new_expert else 'trained further'}"


def is_routed(trial: TrialRecord) -> bool:
    """Return whether examples were answered by one of several experts."""
    return all(trial.extra_matrices.get(name) for name in RETRIEVAL)


def expert_rows(trial: TrialRecord) -> Iterator[list[Any]]:
    """Yield (ordering, stage, retrieval accuracy, score, oracle score) for each stage."""
    accuracy, oracle = (trial.extra_matrices.get(name, ()) for name in RETRIEVAL)
    for matrices in zip(accuracy, trial.matrices, oracle, strict=True):
        for stage in range(1, matrices[1].stages + 1):
            means = [_mean_of_learned(matrix, stage) for matrix in matrices]
            yield [" > ".join(matrices[1].tasks), stage, *means]


def _mean_of_learned(matrix: ScoreMatrix, stage: int) -> float | None:
    """Return the mean over the tasks learned by a stage; None if one of them has no value."""
    values = matrix.values[stage, :stage]
    return None if math.isnan(values.sum()) else float(values.mean())
