"""Distillation of the vision tower: it learns the teacher's features of larger images."""

import random

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPVisionModel

from models.mini.batches import augment, cosine_schedule, shuffled

BATCH = 64
RATE = 1e-3


def distil(tower: CLIPVisionModel, pixels: Tensor, targets: Tensor, steps: int, seed: int) -> None:
    """Train the tower to predict the targets by its last hidden states, under mild augmentation."""
    chance, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        tower.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.05, fused=True
    )
    batches = shuffled(len(pixels), BATCH, chance)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * cosine_schedule(step, steps)
        chosen = next(batches)
        hidden = tower(augment(pixels[chosen], generator, 0.5)).last_hidden_state
        loss = functional.mse_loss(hidden, targets[chosen].float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"distil {step}: {loss.item():.3f}", flush=True)
