"""What the embedded models learn and forget on the embedded benchmark: the figures of docs/mini.md.

    python benchmarks/mini_table.py --work /tmp/mini-table        # all settings, then docs/mini.md
    python benchmarks/mini_table.py --work /tmp/mini-table --only llava-aligned:connector:0

Every cell is the score on the test split. A setting is a start, the parts trained and a seed; each
is made by the loop of every search, in this process, and kept in the store under --work, so that
settings can be made side by side and an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from models.location import model_fingerprint, model_folder  # noqa: E402  # after the path is set
from search.plans import MINI_TRAINING  # noqa: E402
from tasks import Benchmark, load_benchmark, score_answers  # noqa: E402
from trainables.config import TrialConfig  # noqa: E402
from trainables.job import Place, Setting, scored_key  # noqa: E402
from trainables.local import Local  # noqa: E402
from trainables.panel import Panel, Walk  # noqa: E402
from trainables.stages import StageStore  # noqa: E402

STARTS = ("llava-aligned", "llava-instructed")
TRAINING = {
    "connector+lm_lora": MINI_TRAINING,
    "connector": {**MINI_TRAINING, "learning_rate": 7e-3, "batch_size": 8, "micro_batch": 8},
}
"""By the parts trained: the connector alone takes, and needs, larger and more steps."""
SEEDS = (0, 1, 2)
ORDERING = ("animal", "flag_continent", "digit", "sign_meaning", "textile")
STRATEGIES = (
    {"name": "finetune"},
    {"name": "replay", "ratio": 0.1},
    {"name": "joint"},
)
BAR = 0.20


@dataclass(frozen=True)
class Made:
    """One setting's figures."""

    start: str
    parts: str
    seed: int
    single: dict[str, float]
    final: dict[str, float]
    forgetting: float
    wall: list[float]
    cpu: list[float]
    """Seconds of each stage: training and scoring."""


def main() -> None:
    """Make the settings asked for, or all of them and the page."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="folder of the stage store")
    p.add_argument("--only", nargs="*", help="start:parts:seed, to make and not to write the page")
    p.add_argument("--out", type=Path, default=ROOT / "docs" / "mini.md")
    args = p.parse_args()
    benchmark = load_benchmark("mini")
    if args.only:
        for text in args.only:
            start, parts, seed = text.split(":")
            print(make(benchmark, start, parts, int(seed), args.work), flush=True)
        return
    made = []
    for start, parts, seed in itertools.product(STARTS, TRAINING, SEEDS):
        made.append(make(benchmark, start, parts, seed, args.work))
        print(made[-1], flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(page(benchmark, made))
    print(args.out)


def make(benchmark: Benchmark, start: str, parts: str, seed: int, work: Path) -> Made:
    """Every single task, and the strategies on the five-task ordering."""
    folder = model_folder(start)
    place = Place(folder, benchmark.file, work / "stages", seed)
    setting = Setting(
        model=model_fingerprint(folder),
        tasks={t: benchmark.tasks[t].fingerprint() for t in benchmark.order},
        seed=seed,
        workers=1,
    )
    store, runner = StageStore(place.store), Local(place)
    shared = {"training": TRAINING[parts], "adapter": {"parts": parts, "rank": 8}}

    def walked(strategy: Mapping[str, object], orderings: Sequence[tuple[str, ...]]) -> Walk:
        config = TrialConfig.from_dict({"strategy": strategy, **shared})
        walk = Walk(config, Panel(tuple(orderings), split="test"), setting, store, runner)
        while not walk.finished:
            walk.step()
        return walk

    alone = walked({"name": "finetune"}, [(task,) for task in benchmark.order])
    walks = {str(s["name"]): walked(s, [ORDERING]) for s in STRATEGIES}
    costs = [
        cost(store, w, p) for w in (alone, *walks.values()) for p in w.paths if len(p[-1]) == 1
    ]
    return Made(
        start=start,
        parts=parts,
        seed=seed,
        single={m.tasks[0]: m.final_average() for m in alone.matrices()},
        final={name: walk.matrices()[0].final_average() for name, walk in walks.items()},
        forgetting=walks["finetune"].matrices()[0].forgetting(),
        wall=[stage["seconds"] for stage in costs],
        cpu=[stage["cpu_seconds"] for stage in costs],
    )


def cost(store: StageStore, walk: Walk, path: tuple[tuple[str, ...], ...]) -> dict[str, float]:
    """Seconds that a stage took, training and scoring, as its records say."""
    key = walk.key(path)
    cells = walk.panel.cells(walk.config, path)
    scores = [scored_key(walk.setting, key, task, walk.panel.split) for task in cells]
    records = [store.get(k) or {} for k in (key, *scores)]
    return {kind: sum(r[kind] for r in records) for kind in ("seconds", "cpu_seconds")}


def majority(benchmark: Benchmark, task: str) -> float:
    """The test score of always giving the commonest training answer."""
    train, test = (benchmark.tasks[task].examples(s) for s in ("train", "test"))
    answer = Counter(e.answer for e in train).most_common(1)[0][0]
    scores = score_answers(
        benchmark.tasks[task].metric, [answer] * len(test), [e.answers for e in test]
    )
    return statistics.fmean(scores)


def page(benchmark: Benchmark, made: Sequence[Made]) -> str:
    """The Markdown page."""
    settings = list(itertools.product(STARTS, TRAINING))
    head = "| | majority | " + " | ".join(f"{s}, {p}" for s, p in settings) + " |"
    lines = [
        "# What the embedded models learn and forget",
        "",
        f"Test split; mean ± standard deviation over {len(SEEDS)} seeds. Made by "
        "`python benchmarks/mini_table.py --work FOLDER`.",
        "",
        "## Each task tuned alone",
        "",
        head,
        "|" + " --- |" * (len(settings) + 2),
    ]
    for task in benchmark.order:
        floor = majority(benchmark, task)
        cells = [_cell([m.single[task] for m in _of(made, *s)], floor + BAR) for s in settings]
        metric = benchmark.tasks[task].metric
        lines.append(f"| {task} ({metric}) | {floor:.3f} | {' | '.join(cells)} |")
    lines += [
        "",
        f"A figure less than {BAR:.2f} above the majority answer is marked (!).",
        "",
        f"## Five tasks in sequence: {' > '.join(ORDERING)}",
        "",
        head.replace("majority | ", ""),
        "|" + " --- |" * (len(settings) + 1),
    ]
    for name in ("finetune", "replay", "joint"):
        cells = [_cell([m.final[name] for m in _of(made, *s)], -1) for s in settings]
        lines.append(f"| {name}: final average | {' | '.join(cells)} |")
    cells = [_cell([m.forgetting for m in _of(made, *s)], BAR) for s in settings]
    lines.append(f"| finetune: forgetting | {' | '.join(cells)} |")
    cells = [
        _cell([m.final["joint"] - m.final["finetune"] for m in _of(made, *s)], BAR)
        for s in settings
    ]
    lines.append(f"| joint above finetune | {' | '.join(cells)} |")
    lines += [
        "",
        "replay has ratio 0.1; LoRA rank 8; "
        + "; ".join(
            f"{parts}: " + ", ".join(f"{k} {v:g}" for k, v in training.items())
            for parts, training in TRAINING.items()
        )
        + ".",
        "",
        _times(made),
        "",
    ]
    return "\n".join(lines)


def _times(made: Sequence[Made]) -> str:
    cpu, wall = ([s for m in made for s in getattr(m, kind)] for kind in ("cpu", "wall"))
    return (
        "A stage of one task (training and scoring, one thread) took "
        f"{statistics.median(cpu):.1f} s of one core in the median and {max(cpu):.1f} s at the most; on "
        f"the clock {statistics.median(wall):.1f} s and {max(wall):.1f} s ({len(cpu)} stages)."
    )


def _of(made: Sequence[Made], start: str, parts: str) -> list[Made]:
    return [m for m in made if (m.start, m.parts) == (start, parts)]


def _cell(values: Sequence[float], bar: float) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    mark = "" if statistics.fmean(values) >= bar else " (!)"
    return f"{statistics.fmean(values):.3f} ± {spread:.3f}{mark}"


if __name__ == "__main__":
    main()
