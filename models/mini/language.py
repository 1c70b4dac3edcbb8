"""Pretraining of the language model without images: sentences, and questions about shown texts."""

import random

import torch

from models.mini.batches import cosine_schedule
from models.mini.examples import Corpus
from models.mini.parts import LlavaParts
from models.mini.tokenizer import VISUAL_TOKENS

QUESTIONS, SENTENCES = 24, 24
RATE = 2e-3


def pretrain(parts: LlavaParts, corpus: Corpus, steps: int, seed: int) -> None:
    """Train the language model alone; noise of random size stands for the other image tokens."""
    chance, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    embed = parts.language.embed_tokens
    optimizer = torch.optim.AdamW(
        parts.language.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.05, fused=True
    )
    shape = (QUESTIONS, VISUAL_TOKENS, parts.language.config.hidden_size)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * cosine_schedule(step, steps, 100)
        size = embed.weight.detach().std() * 2 ** chance.uniform(-2, 1.5)
        noise = torch.randn(shape, generator=generator) * size
        loss = parts.text_loss(corpus, SENTENCES, noise, chance)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parts.language.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"language {step}: {loss.item():.3f}", flush=True)
