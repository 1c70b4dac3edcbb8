"""Alignment by captions alone: the model learns to describe the pool's images."""

import random

import torch
from torch.nn import functional

from models.mini.batches import augment, cosine_schedule
from models.mini.examples import DESCRIBE, SPELL, Corpus, reworded
from models.mini.parts import Parts
from models.mini.pool import Pool

IMAGES, QUESTIONS, SENTENCES = 48, 12, 8
TOWER_RATE, RATE = 5e-4, 1e-3
WRITTEN = "the word "
DISTIL_WEIGHT, TEXT_WEIGHT = 0.5, 0.5


def align(
    parts: Parts, pool: Pool, corpus: Corpus, steps: int, seed: int, tower_learns: bool = True
) -> None:
    """Train connector and language model, and the tower slower and distilled if `tower_learns`."""
    chance, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    above_tower = [*parts.connector(), *parts.language.parameters()]
    groups = [{"params": above_tower}, {"params": list(parts.tower().parameters())}]
    rates = (RATE, TOWER_RATE)[: 1 + tower_learns]
    optimizer = torch.optim.AdamW(
        groups[: len(rates)], betas=(0.9, 0.98), weight_decay=0.05, fused=True
    )
    for step in range(steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * cosine_schedule(step, steps)
        chosen = torch.multinomial(pool.weights, IMAGES, generator=generator)
        with torch.set_grad_enabled(tower_learns):
            hidden = parts.embed_images(augment(pool.pixels[chosen], generator))
        captions = [pool.captions[place] for place in chosen.tolist()]
        named = [place for place, caption in enumerate(captions) if caption is not None]
        rows = [caption_question(captions[place] or "", chance) for place in named]
        batch = parts.encoder.questions([("", prompt, answer) for prompt, answer in rows])
        visual = parts.connect(hidden[named], [prompt for prompt, _ in rows])
        described = parts.answer_loss(visual, batch)
        read = parts.text_loss(corpus, SENTENCES, visual[-QUESTIONS:].detach(), chance)
        loss = described + TEXT_WEIGHT * read
        if tower_learns:
            has_target = chosen < len(pool.targets)
            targets = pool.targets[chosen[has_target]].float()
            loss = loss + DISTIL_WEIGHT * functional.mse_loss(hidden[has_target], targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"align {step}: captions {described:.3f}, text {read:.3f}", flush=True)


def caption_question(caption: str, chance: random.Random) -> tuple[str, str]:
    """Draw a prompt whose answer is the caption; half of the written words are spelt out."""
    if caption.startswith(WRITTEN) and chance.random() < 0.5:
        letters = " ".join(caption.removeprefix(WRITTEN))
        return reworded(chance.choice(SPELL), chance), letters
    return reworded(chance.choice(DESCRIBE), chance), caption
