"""Scoring one trial's matrix over `generate` for one example after the other, and over isolated experts.

    python -m benchmarks.speed.scoring

Both sides answer the same questions with the same weights, with what the tower saw kept; the strings must
be identical. Without keys and values kept between tokens it would be slower still: not the baseline.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.speed.measure import PAIRS, compared, exact, in_turns
from benchmarks.speed.small import TASKS, config, one_thread, small, walked
from trainables.rank.engine import set_weights
from trainables.rank.evaluate import generate_answers

VALIDATION = 64


def main() -> None:
    """Measure, and print the line."""
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made = small(root / "data", 160, VALIDATION)
        walk = walked(made.walk(config(), root / "stages", [TASKS]))
        worker = walk.runner.worker  # type: ignore[attr-defined]
        lmm, data = worker.rank_context.lmm, worker.rank_context.data
        cells = [(path, task) for path in walk.paths for group in path for task in group]
        said: dict[str, list[str]] = {}

        def matrix(name: str, each) -> None:
            said[name] = []
            for path, task in cells:
                set_weights(lmm, walk.store.tensors(walk.key(path)))
                said[name] += each(task)

        def ours(task: str) -> list[str]:
            return generate_answers(lmm, data, task, "validation", 0)

        def one_by_one(task: str) -> list[str]:
            length = data.benchmark.tasks[task].max_new_tokens
            return [
                lmm.answers([data.encoded(task, "validation", row)], length)[0]
                for row in range(VALIDATION)
            ]

        pairs = in_turns(
            lambda: matrix("ours", ours), lambda: matrix("one by one", one_by_one), PAIRS
        )
        differ = sum(a != b for a, b in zip(*said.values(), strict=True))
        assert not differ, f"the answers must be identical, and {differ} differ"
        compared(
            "scoring",
            pairs,
            "<= 0.333",
            "times generate for each example",
            answers=len(said["ours"]),
            differ=differ,
        ).tell()
        asked = experts(made, root / "experts")
        exact(
            "scoring isolated experts",
            asked["answers_asked"] / asked["answers_in_the_matrix"],
            "<= 0.33334",
            "answers asked of an expert, over those in the matrix",
            **asked,
        ).tell()


def experts(made, store: Path) -> dict[str, float]:
    """Count the answers that isolated experts generated, and those that their matrix holds."""
    import trainables.rank.routing as routing

    asked = 0
    stock = routing.generate_answers

    def counting(lmm, data, task, split, zero, only=None):
        nonlocal asked
        asked += len(only) if only is not None else len(data.examples(task, split))
        return stock(lmm, data, task, split, zero, only)

    routing.generate_answers = counting
    try:
        walk = walked(made.walk(config({"name": "eproj", "threshold": 1.0}), store, [TASKS]))
    finally:
        routing.generate_answers = stock
    cells = sum(len(path) for path in walk.paths)
    accuracy = walk.matrices("retrieval_accuracy")[0].values[-1].mean()
    return {
        "answers_asked": asked,
        "answers_in_the_matrix": cells * VALIDATION,
        "least_possible": len(TASKS) * VALIDATION,
        "retrieval_accuracy": float(accuracy),
    }


if __name__ == "__main__":
    main()
