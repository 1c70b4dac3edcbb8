"""A Q-Former that starts from what the LLaVA class knows: its tower and its connector."""

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
    """Take over the weights; the new class lacks the norm before the layers and has one after."""
    weights, copied = old.state_dict(), new.state_dict()
    # The lost norm is stood in for by the scale that it gives the embeddings on average.
    scale = weights.pop("pre_layrnorm.weight").mean() / old.embeddings(images).std()
    for name in [name for name in weights if name.startswith("embeddings.")]:
        into = name.replace("position_embedding.weight", "position_embedding")
        copied[into].copy_((weights.pop(name) * scale).reshape(copied[into].shape))
    copied["embeddings.patch_embedding.bias"].zero_()
    for name in [name for name in weights if ".q_proj." in name]:
        joined = [weights.pop(name.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
        copied[name.replace(".q_proj.", ".qkv.")].copy_(torch.cat(joined))
    for name in [name for name in weights if name.startswith("encoder.")]:
        copied[name.replace(".out_proj.", ".projection.")].copy_(weights[name])


def imitate(
    teacher: LlavaParts, parts: InstructBlipParts, pixels: Tensor, steps: int, seed: int
) -> None:
    """The new tower learns the old one's hidden states; the queries, its pooled visual tokens."""
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
            shown = teacher.look(images)
            goal = functional.layer_norm(shown, shown.shape[-1:])
            tokens = pooled(teacher.connect(shown, []), side)
            size = tokens.pow(2).mean()
        hidden = parts.look(images)
        made = parts.connect(hidden.detach(), [chance.choice(DESCRIBE) for _ in images])
        seen = functional.mse_loss(hidden, goal)
        said = functional.mse_loss(made, tokens) / size
        (seen + said).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"imitate {step}: tower {seen.item():.3f}, queries {said.item():.3f}", flush=True)


def pooled(tokens: Tensor, side: int) -> Tensor:
    """The class token, and the grid of patch tokens pooled to side x side."""
    grid = round((tokens.shape[1] - 1) ** 0.5)
    patches = tokens[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))
    fewer = functional.adaptive_avg_pool2d(patches, side).flatten(2).transpose(1, 2)
    return torch.cat([tokens[:, :1], fewer], 1)
