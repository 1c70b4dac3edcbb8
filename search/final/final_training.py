"""Training a `best.yaml` again: the same matrices, then the test split, held-out orderings, adapters."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from models.family import check_parts
from models.lmm import LMM
from models.location import folder_family
from search.final.adapter_export import save_model, save_routing_keys
from search.final.best_config import BestConfig, is_code_of_search, read_best, with_orderings
from search.plan.checks import DATA, check_routed, demands_of
from search.results.predictions import FOLDER, scored_cells, write_predictions
from spaces import InputError
from spaces.loading import check_loading
from tasks import check_rows, parse_orderings
from tasks.rescore import PREDICTIONS_FILE
from tasks.user_data.prepared_benchmark import prepare_benchmark
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.metrics.summary import summary
from trainables.panel import Panel
from trainables.stage_job import WorkerSpec
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial, Runner


def train_final(
    path: Path,
    out: Path,
    orderings: str | None,
    model: str | None,
    data: str | None,
    text_encoder: str | None = None,
) -> int:
    """Train `path` from nothing into the new folder `out`; returns the exit status.

    1 if the matrices of the search were not reproduced though code and versions are the same.
    """
    _check_out(out)
    data = data and str(prepare_benchmark(data, out / DATA))
    found = read_best(path, model, data, text_encoder)
    others = _others(found, orderings)
    check_parts(folder_family(found.model), found.config.adapter)
    check_routed(found.config.strategy, found.config.adapter)
    check_loading(found.config.training.loading)
    demands = demands_of(
        found.model, [found.config.adapter], found.workers, [found.config.training.zero]
    )
    tasks = (*found.panel.tasks, *found.panel.initial)
    check_rows(found.benchmark, tasks, demands=demands).raise_if_broken()
    store = StageStore(out / "stages")
    worker_spec = WorkerSpec(
        found.model, found.benchmark.file, store.root, found.seed, text_encoder=found.text_encoder
    )
    with _runner(worker_spec, found.workers, out) as runner:
        walk = _walked(found, found.panel, store, runner, "training")
        compared = _compare(found, walk)
        test = _walked(found, _on_test(found.panel), store, runner, "test split")
        unseen = with_orderings(found, others)
        apart = (
            _walked(unseen, _on_test(unseen.panel), store, runner, "held out") if others else None
        )
    folders = _save_models(found, walk, store, out)
    _write(out, found, compared, walk, test, apart)
    _write_answers(out, store, walk, test, apart)
    print(f"adapters    {', '.join(str(f) for f in folders)}")
    return 1 if compared["same_code"] and compared["reproduced"] is False else 0


def _check_out(out: Path) -> None:
    ours = [out / name for name in ("stages", DATA)]
    if out.exists() and not (
        out.is_dir() and (any(map(Path.is_dir, ours)) or not any(out.iterdir()))
    ):
        raise InputError(f'--out must be a new folder, or one of an earlier training; got "{out}"')


def _others(found: BestConfig, spec: str | None) -> tuple[tuple[str, ...], ...]:
    if not spec:
        return ()
    given = found.panel.orderings
    named = [o.tasks for o in parse_orderings(spec, given[0])]
    others = tuple(o for o in named if o not in given)
    known = "; ".join(">".join(o) for o in named if o in given)
    if not others:
        raise InputError(
            f"held-out orderings must be other than the search's, and all that {spec} names are among "
            f"those: {known}; random:4@1 would name others"
        )
    if known:
        print(f"left out, for the search knew it: {known}", flush=True)
    return others


@contextmanager
def _runner(worker_spec: WorkerSpec, workers: int, out: Path) -> Iterator[Runner]:
    """This process for one rank; a lane for several."""
    if workers == 1:
        from trainables.lanes.in_process import InProcessRunner

        yield InProcessRunner(worker_spec)
        return
    import ray

    from search.resources.cluster import connect
    from trainables.lanes.lane import Lane

    connect(workers + 1)
    lane = Lane(worker_spec, workers, out / "lanes")
    try:
        yield lane
    finally:
        lane.close()
        ray.shutdown()


def _on_test(panel: Panel) -> Panel:
    return dataclasses.replace(panel, split="test")


def _walked(
    found: BestConfig, panel: Panel, store: StageStore, runner: Runner, what: str
) -> PanelTrial:
    walk = PanelTrial(found.config, panel, found.fingerprints, store, runner)
    while not walk.finished:
        walk.step()
        tasks = ">".join("+".join(group) for group in walk.paths[walk.completed - 1])
        print(f"{what:11s} {walk.completed}/{len(walk.paths)}  {tasks}", flush=True)
    return walk


def _compare(found: BestConfig, walk: PanelTrial) -> dict[str, Any]:
    """Whether the matrices are those of the search, to the last bit, and what is said of it."""
    if not found.matrices:
        print("reproduced  nothing to compare with: another model or other data than the search's")
        return {
            "reproduced": None,
            "largest_difference": None,
            "same_code": is_code_of_search(found),
        }
    pairs = list(zip(walk.matrices(), found.matrices, strict=False))
    reproduced = bool(pairs) and all(ours == theirs for ours, theirs in pairs)
    gaps = [np.nanmax(np.abs(a.values - b.values)) for a, b in pairs if a.tasks == b.tasks]
    largest = float(max(gaps, default=0.0))
    same = is_code_of_search(found)
    if reproduced:
        print(f"reproduced  exactly: {len(pairs)} matrices equal those of the search")
    else:
        why = "" if same else " (code or library versions differ from the search's)"
        print(f"reproduced  NOT exactly: largest difference of a score {largest:.4f}{why}")
    return {"reproduced": reproduced, "largest_difference": largest, "same_code": same}


def _save_models(found: BestConfig, walk: PanelTrial, store: StageStore, out: Path) -> list[Path]:
    """The model at the end of each ordering, as stock peft and transformers load it."""
    lmm, folders = LMM(found.model, found.config.training.loading), []
    lmm.adapt(found.config.adapter, found.seed)
    for number, ordering in enumerate(found.panel.orderings, start=1):
        path = found.config.strategy.curriculum(ordering)
        folder, experts = out / f"ordering-{number}", walk.lineage.experts(path)
        for which, expert in enumerate(experts, start=1):
            known = expert.key != walk.lineage.base
            weights = store.tensors(expert.key) if known else lmm.initial()
            save_model(lmm, weights, folder / f"expert-{which}", expert.tasks)
        if experts:
            routing_tensors = found.config.strategy.routing_tensors
            keys = {e.tasks: [routing_tensors(store.tensors(k)) for k in e.kept] for e in experts}
            save_routing_keys(folder, keys)
        else:
            save_model(lmm, store.tensors(walk.key(path)), folder, ordering)
        folders.append(folder)
    return folders


def _write(
    out: Path,
    found: BestConfig,
    compared: dict[str, Any],
    walk: PanelTrial,
    test: PanelTrial,
    apart: PanelTrial | None,
) -> None:
    """`scores.json`, and the test split's scores on the screen."""
    scores = {
        "config": found.config.to_dict(),
        **compared,
        "validation": [m.to_dict() for m in walk.matrices()],
        "test": _told("test", test.matrices()),
        "held_out_test": _told("held out", apart.matrices()) if apart else [],
    }
    (out / "scores.json").write_text(json.dumps(scores, indent=1))
    print(f"scores      {out / 'scores.json'}")


def _write_answers(
    out: Path, store: StageStore, walk: PanelTrial, test: PanelTrial, apart: PanelTrial | None
) -> None:
    """Every answer as one table, and those at the end of the panel's orderings as JSONL."""
    walks = {"search": walk, "test": test} | ({"held out": apart} if apart else {})
    cells = {
        name: list(scored_cells(name, made.panel.orderings, made.records()))
        for name, made in walks.items()
    }
    chosen = {cell for cell in cells["test"] if cell.is_final}
    write_predictions(out, [c for own in cells.values() for c in own], store.root, chosen)
    print(f"answers     {out / FOLDER}, {out / PREDICTIONS_FILE}")


def _told(what: str, matrices: list[ScoreMatrix]) -> list[dict[str, Any]]:
    for matrix in matrices:
        values = summary(matrix)
        final = ", ".join(f"{t} {s:.3f}" for t, s in matrix.row(matrix.stages).items())
        forgetting = values["forgetting"]
        lost = "" if forgetting != forgetting else f", forgetting {forgetting:.3f}"
        print(
            f"{what:11s} {'>'.join(matrix.tasks)}: final average {values['final_average']:.3f}{lost}"
        )
        print(f"{'':11s}   {final}")
    return [m.to_dict() for m in matrices]
