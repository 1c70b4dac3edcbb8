"""Instruction tuning: `aligned` learns to answer the questions of the three initial tasks."""

import io
import random
from pathlib import Path

import pyarrow.parquet
import torch
from PIL import Image
from torch import Tensor

from models.mini.align import caption_question
from models.mini.batches import augment, cosine_schedule
from models.mini.examples import Corpus
from models.mini.parts import Parts
from models.mini.pool import Pool
from models.mini.teacher import resized
from models.mini.tokenizer import POOL_SIZE

INITIAL_TASKS = ("emoji_kind", "clipart_kind", "sign_kind")
QUESTIONS, CAPTIONS, READ = 24, 12, 8
RATE = 5e-4
TEXT_WEIGHT = 0.3


def training_rows(tasks: Path) -> tuple[Tensor, list[tuple[str, str]]]:
    """Return images and (question, answer) pairs of the initial tasks' train splits."""
    pixels: list[Tensor] = []
    pairs: list[tuple[str, str]] = []
    for task in INITIAL_TASKS:
        for row in pyarrow.parquet.read_table(tasks / task / "train.parquet").to_pylist():
            pixels.append(resized(Image.open(io.BytesIO(row["image"]["bytes"])), POOL_SIZE))
            pairs.append((row["prompt"], row["answer"]))
    return torch.stack(pixels), pairs


def instruct(parts: Parts, tasks: Path, pool: Pool, corpus: Corpus, steps: int, seed: int) -> None:
    """Train connector and language model on the tasks, mixed with captions and texts."""
    chance, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    pixels, pairs = training_rows(tasks)
    named = [(place, caption) for place, caption in enumerate(pool.captions) if caption]
    weights = pool.weights[[place for place, _ in named]]
    parameters = [*parts.connector(), *parts.language.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.05, fused=True)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * cosine_schedule(step, steps)
        questions = chance.sample(range(len(pairs)), QUESTIONS)
        captions = torch.multinomial(weights, CAPTIONS, generator=generator).tolist()
        described = [named[place] for place in captions]
        rows = [("", *pairs[place]) for place in questions]
        rows += [("", *caption_question(caption, chance)) for _, caption in described]
        images = torch.cat([pixels[questions], pool.pixels[[place for place, _ in described]]])
        with torch.no_grad():
            hidden = parts.embed_images(augment(images, generator))
        visual = parts.connect(hidden, [question for _, question, _ in rows])
        answered = parts.answer_loss(visual, parts.encoder.questions(rows))
        read = parts.text_loss(corpus, READ, visual[-READ:].detach(), chance)
        (answered + TEXT_WEIGHT * read).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"instruct {step}: answers {answered.item():.3f}", flush=True)
