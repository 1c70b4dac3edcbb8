"""Bytes of model states on each of two ranks with ZeRO-3, over those of a replica: frozen base, adapters.

    python -m benchmarks.speed.zero_memory

Counted on the ranks themselves: parameters, the frozen tower's too, and AdamW's moments as they lie in
memory after a step. The losses must be the same.
"""

from __future__ import annotations

import dataclasses
import json
import os
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
    with tempfile.TemporaryDirectory() as folder:
        found = {zero: ranks(Path(folder) / str(zero), zero) for zero in (0, 3)}
    whole = max(one["bytes"] for one in found[0])
    parted = max(one["bytes"] for one in found[3])
    apart = max(
        abs(a - b) for a, b in zip(found[0][0]["losses"], found[3][0]["losses"], strict=True)
    )
    assert apart < 1e-3, f"the losses must agree, and are {apart} apart"
    exact(
        "ZeRO-3 model states",
        parted / whole,
        "<= 0.55",
        "times a replica's bytes, each of two ranks",
        replicated_mb=whole / 1e6,
        parted_mb=parted / 1e6,
        losses_apart=apart,
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

    from benchmarks.speed.small import TASKS, config, one_thread, small
    from trainables.data import batches
    from trainables.engine import opened
    from trainables.loop import Loop
    from trainables.worker import Worker

    one_thread()
    os.environ["LOCAL_RANK"] = str(number)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'group'}", rank=number, world_size=RANKS
    )
    made = small(folder / f"data-{number}", 96, 16)
    chosen = config(zero=zero, micro_batch=4)
    worker = Worker(dataclasses.replace(made.place(folder / "stages")))
    worker._take_up(chosen)
    picks = [(TASKS[0], row) for row in range(STEPS * chosen.training.batch_size)]
    plan = batches(picks, chosen.training, 0)
    start = worker.lmm.initial()
    with opened(worker.lmm, chosen.training, RANKS, start, len(plan)) as engine:
        losses = Loop(worker, engine, chosen, chosen.fresh_strategy()).train(plan, start)
        held = held_bytes(worker.lmm.model, engine._engine)
        tower = worker.lmm.tower
        assert tower is not None
        # The tower is no part of the model that DeepSpeed splits up: each rank has it whole.
        held += sum(p.nbytes for p in tower._tower[0].parameters())  # type: ignore[attr-defined]
    (folder / f"{number}.json").write_text(json.dumps({"bytes": held, "losses": losses}))
    dist.barrier()
    assert torch.get_num_threads() == 1


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
