"""One rank of several, as a process of its own: `python tests/ranks.py RANK RANKS WORK`.

`WORK` is a JSON file: {"meeting", "benchmark", "walks": [{"model", "store", "config", "orderings"}]}.
Rank 0 walks; the others do what it does.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.update({"OMP_NUM_THREADS": "1", "LOCAL_RANK": "0", "HF_HUB_OFFLINE": "1"})


class Leader:
    """A runner on rank 0 that has the other ranks run every job too."""

    def __init__(self) -> None:
        self.worker: Any = None

    def run(self, job: Any) -> Mapping[str, float]:
        import torch.distributed as dist

        dist.broadcast_object_list([job])
        return self.worker.run(job)

    def ready(self) -> bool:
        return True


def main(rank: int, ranks: int, work: dict[str, Any]) -> None:
    import torch.distributed as dist
    from toy import Toy, walked

    from trainables.config import TrialConfig
    from trainables.panel import Panel
    from trainables.stages import StageStore
    from trainables.walk import Walk
    from trainables.worker import Worker

    gc.freeze()  # DeepSpeed collects garbage with every ZeRO-3 engine, and all of this is none
    dist.init_process_group("gloo", f"file://{work['meeting']}", rank=rank, world_size=ranks)
    leader = Leader()
    for walk in work["walks"]:
        toy, store = Toy(Path(work["benchmark"]), Path(walk["model"])), Path(walk["store"])
        if leader.worker is None or leader.worker.place.model != toy.model:
            leader.worker = Worker(toy.place(store))
        leader.worker.place = replace(leader.worker.place, store=store)
        leader.worker.store = StageStore(store)
        if rank == 0:
            panel = Panel(tuple(map(tuple, walk["orderings"])))
            chosen = TrialConfig.from_dict(walk["config"])
            walked(Walk(chosen, panel, toy.setting(workers=ranks), StageStore(store), leader))
            dist.broadcast_object_list([None])
        else:
            follow(leader.worker)
    dist.destroy_process_group()


def follow(worker: Any) -> None:
    """Run what rank 0 runs until it is through."""
    import torch.distributed as dist

    while True:
        box: list[Any] = [None]
        dist.broadcast_object_list(box)
        if box[0] is None:
            return
        worker.run(box[0])


def launch(root: Path, benchmark: Path, walks: list[dict[str, Any]], ranks: int = 2) -> None:
    """Have `ranks` processes walk; raises `AssertionError` with what they said if one fails."""
    work = {"meeting": str(root / "meeting"), "benchmark": str(benchmark), "walks": walks}
    (root / "work.json").write_text(json.dumps(work))
    # Into files: what nobody reads from a pipe meanwhile fills it up, and stops the rank that writes.
    logs = [root / f"rank-{rank}.log" for rank in range(ranks)]
    started = []
    for rank, log in enumerate(logs):
        command = [sys.executable, __file__, str(rank), str(ranks), str(root / "work.json")]
        with log.open("w") as out:
            started.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT))
    try:
        codes = [rank.wait(timeout=500) for rank in started]
    finally:
        for rank in started:
            rank.kill()
    assert codes == [0] * ranks, "\n".join(log.read_text()[-2000:] for log in logs)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text()))
    sys.stdout.flush()
    # Without the interpreter's end: a thread of gloo that frees the last broadcast's tensors then asks
    # for the GIL, is ended by it, and torch 2.13 aborts the process now and then.
    os._exit(0)
