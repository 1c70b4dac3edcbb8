"""Final training from `best.yaml`: reproduce the search, score the test split, save the adapters."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from models.family import check_parts
from models.lmm import LMM
from models.location import folder_family
from search.final.adapter_export import save_model, save_routing_keys
from search.final.best_config import BestConfig, read_best
from search.plan.checks import DATA, STAGES, check_routed, row_requirements
from search.plan.space import PARTS
from search.results.predictions import FOLDER, answered_cells, write_predictions
from search.results.sums import FINAL, summed
from spaces import InputError
from spaces.errors import first_line
from spaces.files import write_atomically
from spaces.loading import check_loading
from spaces.storage import MARKER, mark_storage
from tasks import check_rows, parse_orderings
from tasks.rescore import PREDICTIONS_FILE
from tasks.user_data.prepared_benchmark import prepare_benchmark
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.metrics.summary import summary
from trainables.panel import Panel
from trainables.stage_job import Runner, WorkerSpec
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

TITLE = 11
"""Width of the first column on the screen."""


def train_final(
    path: Path,
    out: Path,
    orderings: str | None,
    model: str | None,
    data: str | None,
    text_encoder: str | None = None,
) -> int:
    """Train the `best.yaml` at `path` from scratch into the folder `out`; return the exit status.

    The status is 1 if the search's matrices were not reproduced by the same code and versions.
    """
    _check_out(out)
    data = data and str(prepare_benchmark(data, out / DATA))
    best = read_best(path, model, data, text_encoder)
    held_out_orderings = _held_out_orderings(best.panel, orderings)
    _check_inputs(best)
    store = StageStore(out / STAGES)
    spec = WorkerSpec(
        best.model,
        best.benchmark.file,
        store.root,
        text_encoder=best.text_encoder,
        storage_id=_marked(out),
    )
    with _runner(spec, best.workers, out) as runner:
        retrained = _train(best, best.panel, store, runner, "training")
        comparison = _compare(best, retrained)
        trials = {
            "search": retrained,
            "test": _train(best, _on_test(best.panel), store, runner, "test split"),
        }
        if held_out_orderings:
            other = best.with_orderings(held_out_orderings)
            trials["held out"] = _train(other, _on_test(other.panel), store, runner, "held out")
    with summed(out, FINAL):
        folders = _save_models(best, retrained, store, out)
        _write_scores(out, best, comparison, trials)
        _write_answers(out, store, trials)
    print(f"{'adapters':{TITLE}} {', '.join(map(str, folders))}")
    return 1 if comparison["same_code"] and comparison["reproduced"] is False else 0


def _check_out(out: Path) -> None:
    made_here = (out / MARKER).is_file() or any((out / name).is_dir() for name in (STAGES, DATA))
    if out.exists() and not (out.is_dir() and (made_here or not any(out.iterdir()))):
        raise InputError(f'--out must be a new folder, or one of an earlier training; got "{out}"')


def _marked(out: Path) -> str:
    """Return the id of the folder, which is a storage of its own; made if it is new."""
    try:
        return mark_storage(out)
    except OSError as error:
        raise InputError(
            f'--out must be a folder that can be written, got "{out}": {first_line(error)}'
        ) from error


def _check_inputs(best: BestConfig) -> None:
    """Raise `InputError` before any training if model, strategy or data cannot be trained."""
    config = best.config
    check_parts(folder_family(best.model), config.adapter)
    check_routed(config.strategy, config.adapter)
    check_loading(config.training.loading)
    adapters = {PARTS: [config.adapter]}
    demands = row_requirements(best.model, adapters, best.workers, [config.training.zero])
    tasks = best.panel.all_tasks
    check_rows(best.benchmark, tasks, requirements=demands).raise_if_broken()


def _held_out_orderings(panel: Panel, spec: str | None) -> tuple[tuple[str, ...], ...]:
    """Return the orderings that `spec` names, without those of the search."""
    if not spec:
        return ()
    named = [o.tasks for o in parse_orderings(spec, panel.orderings[0])]
    held_out = tuple(o for o in named if o not in panel.orderings)
    known = "; ".join(">".join(o) for o in named if o in panel.orderings)
    if not held_out:
        raise InputError(
            f"held-out orderings must differ from the search's, and all that {spec} names are among "
            f"those: {known}; random:4@1 would name others"
        )
    if known:
        print(f"not held out, because the search used it: {known}", flush=True)
    return held_out


@contextmanager
def _runner(spec: WorkerSpec, workers: int, out: Path) -> Iterator[Runner]:
    """Yield a runner of stages: this process for one rank, a lane for several."""
    if workers == 1:
        from trainables.lanes.in_process import InProcessRunner

        yield InProcessRunner(spec)
        return
    import ray

    from search.resources.cluster import connect
    from trainables.lanes.lane import Lane

    connect(workers + 1)
    lane = Lane(spec, workers, out / "lanes")
    try:
        yield lane
    finally:
        lane.close()
        ray.shutdown()


def _on_test(panel: Panel) -> Panel:
    return dataclasses.replace(panel, split="test")


def _train(
    best: BestConfig, panel: Panel, store: StageStore, runner: Runner, title: str
) -> PanelTrial:
    """Train the configuration over a panel, and print a line for each stage."""
    trial = PanelTrial(best.config, panel, best.fingerprints, store, runner)
    while not trial.finished:
        trial.step()
        tasks = ">".join("+".join(group) for group in trial.paths[trial.completed - 1])
        print(f"{title:{TITLE}} {trial.completed}/{len(trial.paths)}  {tasks}", flush=True)
    return trial


def _compare(best: BestConfig, retrained: PanelTrial) -> dict[str, Any]:
    """Compare the matrices with those of the search to the last bit, and print the result."""
    same_code = best.has_same_code()
    whole = zip(retrained.matrices(), best.matrices, strict=False)
    pairs = [pair for ours, theirs in whole if (pair := _comparable(ours, theirs))]
    if not pairs:
        print("reproduced  nothing to compare with: other model, data or stages than the search's")
        return {"reproduced": None, "largest_difference": None, "same_code": same_code}
    reproduced = all(ours == theirs for ours, theirs in pairs)
    gaps = [np.nanmax(np.abs(a.values - b.values)) for a, b in pairs if a.tasks == b.tasks]
    largest = float(max(gaps, default=0.0))
    if reproduced:
        print(f"reproduced  exactly: {len(pairs)} matrices equal those of the search")
    else:
        why = "" if same_code else " (code or library versions differ from the search's)"
        print(f"reproduced  NOT exactly: largest difference of a score {largest:.4f}{why}")
    return {"reproduced": reproduced, "largest_difference": largest, "same_code": same_code}


def _comparable(ours: ScoreMatrix, theirs: ScoreMatrix) -> tuple[ScoreMatrix, ScoreMatrix] | None:
    """Return the parts of two matrices that must be equal; None if no stage is in both.

    A search of first stages ends earlier, and may score other tasks at its end: cells of either alone are
    left out.
    """
    if theirs.stages == ours.stages:
        return ours, theirs
    ours = ours.after(theirs.stages)
    both = ~(np.isnan(ours.values) | np.isnan(theirs.values))
    if not both[1:].any():
        return None
    first, second = (np.where(both, m.values, np.nan) for m in (ours, theirs))
    return dataclasses.replace(ours, values=first), dataclasses.replace(theirs, values=second)


def _save_models(
    best: BestConfig, retrained: PanelTrial, store: StageStore, out: Path
) -> list[Path]:
    """Save the model at the end of each ordering, as stock peft and transformers load it."""
    lmm, folders = LMM(best.model, best.config.training.loading), []
    lmm.adapt(best.config.adapter, best.seed)
    for number, ordering in enumerate(best.panel.orderings, start=1):
        path = best.config.strategy.curriculum(ordering)
        folder, experts = out / f"ordering-{number}", retrained.lineage.experts(path)
        for i, expert in enumerate(experts, start=1):
            is_trained = expert.key != retrained.lineage.base
            weights = store.tensors(expert.key) if is_trained else lmm.initial()
            save_model(lmm, weights, folder / f"expert-{i}", expert.tasks)
        if experts:
            routing_tensors = best.config.strategy.routing_tensors
            keys = {e.tasks: [routing_tensors(store.tensors(k)) for k in e.kept] for e in experts}
            save_routing_keys(folder, keys)
        else:
            save_model(lmm, store.tensors(retrained.key(path)), folder, ordering)
        folders.append(folder)
    return folders


def _write_scores(
    out: Path, best: BestConfig, comparison: dict[str, Any], trials: dict[str, PanelTrial]
) -> None:
    """Write `scores.json`, and print the scores on the test split."""
    matrices = {name: trial.matrices() for name, trial in trials.items()}
    for name in matrices:
        if name != "search":
            _print_scores(name, matrices[name])
    scores = {
        "config": best.config.to_dict(),
        **comparison,
        "validation": [m.to_dict() for m in matrices["search"]],
        "test": [m.to_dict() for m in matrices["test"]],
        "held_out_test": [m.to_dict() for m in matrices.get("held out", ())],
    }
    write_atomically(out / "scores.json", json.dumps(scores, indent=1))
    print(f"{'scores':{TITLE}} {out / 'scores.json'}")


def _write_answers(out: Path, store: StageStore, trials: dict[str, PanelTrial]) -> None:
    """Write every answer into one table, and those at the end of the panel's orderings as JSONL."""
    cells = {
        name: list(answered_cells(name, trial.panel.orderings, trial.outcome.cells()))
        for name, trial in trials.items()
    }
    chosen = {cell for cell in cells["test"] if cell.is_final}
    write_predictions(out, [c for of_trial in cells.values() for c in of_trial], store.root, chosen)
    print(f"{'answers':{TITLE}} {out / FOLDER}, {out / PREDICTIONS_FILE}")


def _print_scores(title: str, matrices: Sequence[ScoreMatrix]) -> None:
    for matrix in matrices:
        values = summary(matrix)
        final = ", ".join(f"{t} {s:.3f}" for t, s in matrix.row(matrix.stages).items())
        forgetting = values["forgetting"]
        lost = "" if forgetting != forgetting else f", forgetting {forgetting:.3f}"
        tasks = ">".join(matrix.tasks)
        print(f"{title:{TITLE}} {tasks}: final average {values['final_average']:.3f}{lost}")
        print(f"{'':{TITLE}}   {final}")
        if matrix.general:
            general, drift = values["general_average"], values["general_drift"]
            print(f"{'':{TITLE}}   general average {general:.3f}, drift {drift:.3f}")
