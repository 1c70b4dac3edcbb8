"""Bytes of model states on each of two ranks with ZeRO-3, over those of a replica: frozen base, adapters.

    python -m benchmarks.speed.zero_memory

Counted on the ranks themselves: parameters, and AdamW's moments, as they lie in memory after a step. What
the tower sees was kept, on both sides: its weights rest in a file that the ranks map, so that a rank's own
bytes of it are those that it would have written to. The file's pages in memory are common to all ranks, can
be dropped at any time, and are told apart. The losses must be the same.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import exact

RANKS, STEPS = 2, 10
ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run two ranks with ZeRO 0 and with ZeRO 3, and print the line."""
    from benchmarks.speed.cached_features import write
    from benchmarks.speed.small import config, small
    from trainables.stage_job import FeatureCache

    with tempfile.TemporaryDirectory() as folder:
        made = small(Path(folder) / "data", 96, 16)
        seen = FeatureCache(
            Path(folder) / "features", made.fingerprints.model, made.fingerprints.tasks
        )
        write(seen, made.benchmark, config().training.loading)
        (Path(folder) / "made.pickle").write_bytes(pickle.dumps((made, seen)))
        found = {zero: ranks(Path(folder) / str(zero), zero) for zero in (0, 3)}
    whole = max(one["bytes"] for one in found[0])
    parted = max(one["bytes"] for one in found[3])
    apart = max(
        abs(a - b) for a, b in zip(found[0][0]["losses"], found[3][0]["losses"], strict=True)
    )
    assert apart < 1e-4, f"the losses must agree, and are {apart} apart"
    exact(
        "ZeRO-3 model states",
        parted / whole,
        "<= 0.55",
        "times a replica's bytes, each of two ranks, features on disk",
        replicated_mb=whole / 1e6,
        parted_mb=parted / 1e6,
        tower_mb=found[3][0]["tower"] / 1e6,
        ratio_with_the_tower_on_each_rank=(parted + found[3][0]["tower"])
        / (whole + found[0][0]["tower"]),
        tower_pages_in_common_mb=max(one["common"] for one in found[3]) / 1e6,
        losses_apart=apart,
        holds="where what the tower sees is kept on disk",
    ).tell()


def ranks(folder: Path, zero: int) -> list[dict[str, Any]]:
    """What each of the two ranks held, and its losses."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.speed.zero_memory", str(folder), str(zero)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen([*command, str(rank)], env=environment, cwd=ROOT) for rank in range(RANKS)
    ]
    assert not any(process.wait() for process in processes), "a rank failed; its error is above"
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(RANKS)]


def rank(folder: Path, zero: int, number: int) -> None:
    """One rank: a few steps, then what it holds."""
    import torch
    import torch.distributed as dist

    from benchmarks.speed.small import TASKS, config, one_thread
    from trainables.rank.batching import batches
    from trainables.rank.engine import open_engine
    from trainables.rank.loop import Loop
    from trainables.rank.worker import Worker

    one_thread()
    os.environ["LOCAL_RANK"] = str(number)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'group'}", rank=number, world_size=RANKS
    )
    made, seen = pickle.loads((folder.parent / "made.pickle").read_bytes())
    chosen = config(zero=zero, micro_batch=4)
    worker = Worker(dataclasses.replace(made.worker_spec(folder / "stages"), features=seen))
    worker.rank_context.adapt(chosen)
    picks = [(TASKS[0], row) for row in range(STEPS * chosen.training.batch_size)]
    plan = batches(picks, chosen.training, 0)
    start = worker.rank_context.lmm.initial()
    with open_engine(worker.rank_context.lmm, chosen.training, RANKS, start, len(plan)) as engine:
        losses = Loop(worker.rank_context, engine, chosen, chosen.fresh_strategy()).train(
            plan, start
        )
        held = held_bytes(worker.rank_context.lmm.model, engine._engine)
        tower = worker.rank_context.lmm.tower
        assert tower is not None
        # The tower is no part of the model that DeepSpeed splits up.
        parts = [p for part in tower.frozen_modules() for p in part.parameters()]
        own, common, mapped = mapped_bytes(str(folder.parent / "features"))
        # Texts are placed by the embeddings as they were loaded.
        beside = [*parts, worker.rank_context.lmm.token_embeddings]
        held += own + sum(p.nbytes for p in beside if not within(p.data_ptr(), mapped))
    told = {
        "bytes": held,
        "losses": losses,
        "common": common,
        "tower": sum(p.nbytes for p in parts),
    }
    (folder / f"{number}.json").write_text(json.dumps(told))
    dist.barrier()
    assert torch.get_num_threads() == 1


def mapped_bytes(folder: str) -> tuple[int, int, list[range]]:
    """Of the files in a folder that this process maps: its own bytes, the files', and all addresses."""
    sizes, places, ours = {"Anonymous:": 0, "Rss:": 0}, [], False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first:
            ours = bool(rest) and rest[-1].startswith(folder)
            places += [range(*(int(end, 16) for end in first.split("-")))] if ours else []
        elif ours and first in sizes:
            sizes[first] += 1024 * int(rest[0])
    return sizes["Anonymous:"], sizes["Rss:"] - sizes["Anonymous:"], places


def within(address: int, places: list[range]) -> bool:
    """Whether an address is in one of these places."""
    return any(address in place for place in places)


def held_bytes(model: Any, engine: Any) -> int:
    """Of parameters and of everything in the optimizer's state, each storage once."""
    import torch

    storages: dict[int, int] = {}

    def note(tensor: Any) -> None:
        if isinstance(tensor, torch.Tensor) and tensor.numel():
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()

    for parameter in model.parameters():
        note(parameter.data)
        note(getattr(parameter, "ds_tensor", None))
    optimizer = engine.optimizer
    stock = getattr(optimizer, "optimizer", optimizer)
    for group in stock.param_groups:
        for parameter in group["params"]:
            note(parameter.data)
    for state in stock.state.values():
        for value in state.values():
            note(value)
    return sum(storages.values())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        rank(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
