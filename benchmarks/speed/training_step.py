"""A step of the loop, with DeepSpeed and a strategy's hooks, over one of a loop written by hand.

    python -m benchmarks.speed.training_step

Same model, examples, optimizer, schedule and clipping; the losses must agree.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from transformers import get_scheduler

from benchmarks.speed.measure import PAIRS, compared, in_turns
from benchmarks.speed.small import TASKS, config, one_thread, small
from trainables.lanes.in_process import InProcessRunner
from trainables.rank.batching import batches
from trainables.rank.engine import open_engine, set_weights
from trainables.rank.loop import Loop

STEPS, AGREE = 100, 20


def main() -> None:
    """Measure, and print the line."""
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made = small(root / "data")
        worker = InProcessRunner(made.worker_spec(root / "stages")).worker
        chosen = config(epochs=4)
        worker.rank_context.adapt(chosen)
        picks = [(TASKS[0], row) for row in range(worker.rank_context.data.sizes(TASKS)[TASKS[0]])]
        plan = batches(picks, chosen.training, 0)[:STEPS]
        start, losses = worker.rank_context.lmm.initial(), {}

        def ours() -> None:
            torch.manual_seed(0)
            with open_engine(
                worker.rank_context.lmm, chosen.training, 1, start, len(plan)
            ) as engine:
                losses["ours"] = Loop(
                    worker.rank_context, engine, chosen, chosen.fresh_strategy()
                ).train(plan, start)

        def by_hand() -> None:
            torch.manual_seed(0)
            lmm, training = worker.rank_context.lmm, chosen.training
            set_weights(lmm, start)
            values = list(lmm.trainable().values())
            optimizer = torch.optim.AdamW(
                values, lr=training.learning_rate, weight_decay=training.weight_decay
            )
            warm = round(training.warmup * len(plan))
            scheduler = get_scheduler(training.schedule, optimizer, warm, len(plan))
            lmm.model.train()
            losses["by hand"] = []
            for batch in plan:
                logits, answers = lmm.answer_logits(worker.rank_context.data.training(batch))
                loss = torch.nn.functional.cross_entropy(
                    logits.flatten(0, 1), answers.flatten(), ignore_index=-100
                )
                loss.backward()
                torch.nn.utils.clip_grad_norm_(values, training.clip)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
                losses["by hand"].append(float(loss.detach()))

        pairs = in_turns(ours, by_hand, PAIRS)
        # Rounding grows with the steps: the first tell whether both do the same.
        apart = max(
            abs(a - b) for a, b in zip(losses["ours"][:AGREE], losses["by hand"], strict=False)
        )
        assert apart < 1e-4, f"the losses must agree, and are {apart} apart"
        compared(
            "training step",
            pairs,
            "<= 1.10",
            "times a hand-written loop",
            steps=STEPS,
            losses_apart=apart,
        ).tell()


if __name__ == "__main__":
    main()
