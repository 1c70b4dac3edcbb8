"""What the embedded models learn and forget on the embedded benchmark: the figures of docs/mini.md.

    python benchmarks/mini_table.py --work /tmp/mini-table        # all settings, then docs/mini.md
    python benchmarks/mini_table.py --work /tmp/mini-table --only llava:aligned:connector:0

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from models.location import model_fingerprint, model_folder  # noqa: E402  # after the path is set
from search.plan.presets import MINI_TRAINING  # noqa: E402
from tasks import Benchmark, load_benchmark, score_answers  # noqa: E402
from trainables.config import TrialConfig  # noqa: E402
from trainables.lanes.in_process import InProcessRunner  # noqa: E402
from trainables.panel import Panel  # noqa: E402
from trainables.stage_job import Fingerprints, WorkerSpec  # noqa: E402
from trainables.store.stage_keys import scored_key  # noqa: E402
from trainables.store.stage_store import StageStore  # noqa: E402
from trainables.trial import PanelTrial  # noqa: E402

STARTS = ("aligned", "instructed")
TRAINING = {
    ("llava", "connector+lm_lora"): MINI_TRAINING,
    ("llava", "connector"): {**MINI_TRAINING, "epochs": 3, "learning_rate": 7e-3},
    ("instructblip", "connector"): {**MINI_TRAINING, "epochs": 3, "learning_rate": 2e-3},
}
"""By class and parts trained: the connector alone needs more steps, a Q-Former smaller ones.

InstructBLIP's connector is its queries, Q-Former and projection, as He et al. 2023 train them.
"""
CLASSES = {"llava": "LLaVA", "instructblip": "InstructBLIP"}
SEEDS = (0, 1, 2)
ORDERING = ("animal", "flag_continent", "digit", "sign_meaning", "textile")
STRATEGIES = (
    {"name": "finetune"},
    {"name": "replay", "ratio": 0.1},
    {"name": "joint"},
)
BAR = 0.20
STAGE_SECONDS = 10.0


@dataclass(frozen=True)
class Made:
    """One setting's figures."""

    family: str
    start: str
    parts: str
    seed: int
    single: dict[str, float]
    final: dict[str, float]
    forgetting: float
    cpu: list[float]
    """Seconds of one core that each stage of one task took: training and scoring."""


def main() -> None:
    """Make the settings asked for, or all of them and the page."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="folder of the stage store")
    p.add_argument("--only", nargs="*", help="class:start:parts:seed, not to write the page")
    p.add_argument("--out", type=Path, default=ROOT / "docs" / "mini.md")
    args = p.parse_args()
    benchmark = load_benchmark("mini")
    if args.only:
        for text in args.only:
            family, start, parts, seed = text.split(":")
            print(make(benchmark, family, start, parts, int(seed), args.work), flush=True)
        return
    made = []
    for (family, parts), start, seed in itertools.product(TRAINING, STARTS, SEEDS):
        made.append(make(benchmark, family, start, parts, seed, args.work))
        print(made[-1], flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(page(benchmark, made))
    print(args.out)


def make(benchmark: Benchmark, family: str, start: str, parts: str, seed: int, work: Path) -> Made:
    """Every single task, and the strategies on the five-task ordering."""
    folder = model_folder(f"{family}-{start}")
    worker_spec = WorkerSpec(folder, benchmark.file, work / "stages")
    fingerprints = Fingerprints(
        model=model_fingerprint(folder),
        tasks={t: benchmark.tasks[t].fingerprint() for t in benchmark.order},
        seed=seed,
        workers=1,
    )
    store, runner = StageStore(worker_spec.store), InProcessRunner(worker_spec)
    shared = {"training": TRAINING[family, parts], "adapter": {"parts": parts, "rank": 8}}

    def walked(strategy: Mapping[str, object], orderings: Sequence[tuple[str, ...]]) -> PanelTrial:
        config = TrialConfig.from_dict({"strategy": strategy, **shared})
        walk = PanelTrial(
            config, Panel(tuple(orderings), split="test"), fingerprints, store, runner
        )
        while not walk.finished:
            walk.step()
        return walk

    alone = walked({"name": "finetune"}, [(task,) for task in benchmark.order])
    walks = {str(s["name"]): walked(s, [ORDERING]) for s in STRATEGIES}
    costs = [
        cost(store, w, p) for w in (alone, *walks.values()) for p in w.paths if len(p[-1]) == 1
    ]
    return Made(
        family=family,
        start=start,
        parts=parts,
        seed=seed,
        single={m.tasks[0]: m.final_average() for m in alone.matrices()},
        final={name: walk.matrices()[0].final_average() for name, walk in walks.items()},
        forgetting=walks["finetune"].matrices()[0].forgetting(),
        cpu=costs,
    )


def cost(store: StageStore, walk: PanelTrial, path: tuple[tuple[str, ...], ...]) -> float:
    """Seconds of one core that a stage took, training and scoring, as its records say."""
    key = walk.key(path)
    cells = walk.panel.scored_tasks(walk.config, path)
    scores = [scored_key(walk.fingerprints, key, task, walk.panel.split) for task in cells]
    records = [store.get(k) for k in (key, *scores)]
    return sum(record.cpu_seconds for record in records if record)


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
    lines = [
        "# What the embedded models learn and forget",
        "",
        f"Test split; mean ± standard deviation over {len(SEEDS)} seeds. Made by "
        "`python benchmarks/mini_table.py --work FOLDER`.",
        "",
        f"A figure that misses its bar is marked (!): each task alone {BAR:.2f} above the commonest "
        f"answer, forgetting of finetune {BAR:.2f}, joint {BAR:.2f} above finetune, a stage of one task "
        f"{STAGE_SECONDS:.0f} s of one core at the most.",
        "",
        *(line for family in CLASSES for line in _class(benchmark, made, family)),
        "## How",
        "",
        "finetune, joint, and replay with ratio 0.1; LoRA rank 8; "
        + "; ".join(
            f"{family}, {parts}: " + ", ".join(f"{k} {v:g}" for k, v in training.items())
            for (family, parts), training in TRAINING.items()
        )
        + ".",
        "",
    ]
    return "\n".join(lines)


def _class(benchmark: Benchmark, made: Sequence[Made], family: str) -> list[str]:
    settings = [(s, parts) for s in STARTS for known, parts in TRAINING if known == family]
    of = {s: [m for m in made if (m.family, m.start, m.parts) == (family, *s)] for s in settings}
    columns = " | ".join(f"{start}, {parts}" for start, parts in settings)
    lines = [
        f"## {CLASSES[family]}: each task tuned alone",
        "",
        f"| | commonest answer | {columns} |",
        "|" + " --- |" * (len(settings) + 2),
    ]
    for task in benchmark.order:
        floor = majority(benchmark, task)
        cells = [_cell([m.single[task] for m in of[s]], floor + BAR) for s in settings]
        metric = benchmark.tasks[task].metric
        lines.append(f"| {task} ({metric}) | {floor:.3f} | {' | '.join(cells)} |")
    lines += [
        "",
        f"## {CLASSES[family]}: {' > '.join(ORDERING)}",
        "",
        f"| | {columns} |",
        "|" + " --- |" * (len(settings) + 1),
    ]
    figures: dict[str, tuple[Callable[[Made], float], float]] = {
        f"{name}: final average": (lambda m, name=name: m.final[name], -1.0)
        for name in ("finetune", "replay", "joint")
    }
    figures["finetune: forgetting"] = (lambda m: m.forgetting, BAR)
    figures["joint above finetune"] = (lambda m: m.final["joint"] - m.final["finetune"], BAR)
    for name, (figure, bar) in figures.items():
        cells = [_cell([figure(m) for m in of[s]], bar) for s in settings]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name, choose in (("median", statistics.median), ("longest", max)):
        taken = [choose([t for m in of[s] for t in m.cpu]) for s in settings]
        cells = [f"{t:.1f}" + " (!)" * (t > STAGE_SECONDS) for t in taken]
        lines.append(f"| {name} stage, s of one core | {' | '.join(cells)} |")
    stages = sum(len(m.cpu) for m in of[settings[0]])
    lines += [
        "",
        f"A stage is training on one task and scoring all tasks seen; {stages} stages a column.",
        "",
    ]
    return lines


def _cell(values: Sequence[float], bar: float) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    mark = "" if statistics.fmean(values) >= bar else " (!)"
    return f"{statistics.fmean(values):.3f} ± {spread:.3f}{mark}"


if __name__ == "__main__":
    main()
