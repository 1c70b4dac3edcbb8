"""Q-Former that is distilled from the tower and the connector of the LLaVA class."""

import random

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPVisionModel, InstructBlipVisionModel

from models.mini.batches import augment, cosine_schedule, shuffled
from models.mini.examples import DESCRIBE
from models.mini.parts import InstructBlipParts, LlavaParts

BATCH = 48
RATE = 1e-3


@torch.no_grad()
def copy_tower(old: CLIPVisionModel, new: InstructBlipVisionModel, images: Tensor) -> None:
    """Copy the weights; the new class has no norm before the layers, and one after them."""
    weights, copied = old.state_dict(), new.state_dict()
    # The mean scale that the missing norm gives the embeddings replaces it.
    scale = weights.pop("pre_layrnorm.weight").mean() / old.embeddings(images).std()
    for name in [name for name in weights if name.startswith("embeddings.")]:
        target = name.replace("position_embedding.weight", "position_embedding")
        copied[target].copy_((weights.pop(name) * scale).reshape(copied[target].shape))
    copied["embeddings.patch_embedding.bias"].zero_()
    for name in [name for name in weights if ".q_proj." in name]:
        joined = [weights.pop(name.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
        copied[name.replace(".q_proj.", ".qkv.")].copy_(torch.cat(joined))
    for name in [name for name in weights if name.startswith("encoder.")]:
        copied[name.replace(".out_proj.", ".projection.")].copy_(weights[name])


def imitate(
    teacher: LlavaParts, parts: InstructBlipParts, pixels: Tensor, steps: int, seed: int
) -> None:
    """Distil the old tower's hidden states into the new one, and its pooled tokens into the queries."""
    chance, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    parameters = [*parts.tower().parameters(), *parts.connector()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.05, fused=True)
    batches = shuffled(len(pixels), BATCH, chance)
    side = round((len(parts.encoder.image) - 1) ** 0.5)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * cosine_schedule(step, steps)
        images = augment(pixels[next(batches)], generator)
        with torch.no_grad():
            teacher_hidden = teacher.embed_images(images)
            target = functional.layer_norm(teacher_hidden, teacher_hidden.shape[-1:])
            tokens = pooled(teacher.connect(teacher_hidden, []), side)
            size = tokens.pow(2).mean()
        hidden = parts.embed_images(images)
        queries = parts.connect(hidden.detach(), [chance.choice(DESCRIBE) for _ in images])
        tower_loss = functional.mse_loss(hidden, target)
        query_loss = functional.mse_loss(queries, tokens) / size
        (tower_loss + query_loss).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            losses = f"tower {tower_loss.item():.3f}, queries {query_loss.item():.3f}"
            print(f"imitate {step}: {losses}", flush=True)


def pooled(tokens: Tensor, side: int) -> Tensor:
    """Return the class token, and the grid of patch tokens pooled to side x side."""
    grid = round((tokens.shape[1] - 1) ** 0.5)
    patches = tokens[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))
    fewer = functional.adaptive_avg_pool2d(patches, side).flatten(2).transpose(1, 2)
    return torch.cat([tokens[:, :1], fewer], 1)
