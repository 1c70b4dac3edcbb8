"""Every family's real class with random weights, and its real processor, built without a hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessor,
    CLIPImageProcessor,
    GotOcr2ImageProcessor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    SiglipImageProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
)

from models.location import EMBEDDED
from models.processors import images_only

SIDE, PATCH = 64, 16
SIZE = {"height": SIDE, "width": SIDE}
WIDTH = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
TEMPLATE = """{%- for message in messages -%}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}\
{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}\
<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""ChatML, in which most of these families write; each puts its own token where IMAGE stands."""


def tokenizer(*special: str, **named: str) -> Any:
    """The embedded model's tokenizer with further tokens; `named` ones are its attributes, too."""
    found: Any = AutoTokenizer.from_pretrained(
        EMBEDDED / "llava-aligned", extra_special_tokens=named
    )
    found.add_tokens(["<|im_start|>", "<|im_end|>", *special], special_tokens=True)
    found.chat_template, found.model_max_length = None, 4096
    return found


def template(image: str) -> str:
    """The chat template with the family's own token for an image."""
    return TEMPLATE.replace("IMAGE", image)


def text(tokens: Any, **more: Any) -> dict[str, Any]:
    """Two layers of width 32."""
    special = {"pad_token_id": tokens.pad_token_id, "eos_token_id": tokens.eos_token_id}
    special |= {"bos_token_id": None, "vocab_size": len(tokens)}
    layers = {"num_hidden_layers": 2, "num_key_value_heads": 2, "head_dim": 16}
    return {**WIDTH, **special, **layers, **more}


def vision(**more: Any) -> dict[str, Any]:
    """Two layers of width 32 over 4 x 4 patches."""
    return {**WIDTH, "num_hidden_layers": 2, "image_size": SIDE, "patch_size": PATCH, **more}


Made = tuple[Any, Any]
"""A configured model with random weights, and its processor."""


def llava() -> Made:
    tokens = tokenizer()
    config = LlavaConfig(
        text_config=text(tokens, model_type="llama"),
        vision_config=vision(model_type="clip_vision_model", projection_dim=32),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
    )
    images = CLIPImageProcessor(size=SIZE, crop_size=SIZE, do_center_crop=False)
    processor = LlavaProcessor(
        images,
        tokens,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template("<image>"),
    )
    return LlavaForConditionalGeneration(config), processor


def llava_next() -> Made:
    tokens = tokenizer()
    grids = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    config = LlavaNextConfig(
        text_config=text(tokens, model_type="llama"),
        vision_config=vision(model_type="clip_vision_model", projection_dim=32),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=grids,
    )
    images = LlavaNextImageProcessor(
        size={"shortest_edge": SIDE}, crop_size=SIZE, image_grid_pinpoints=grids
    )
    processor = LlavaNextProcessor(
        images,
        tokens,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template("<image>"),
    )
    return LlavaNextForConditionalGeneration(config), processor


def llava_onevision() -> Made:
    tokens = tokenizer("<video>")
    grids = [[SIDE, SIDE], [SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    config = LlavaOnevisionConfig(
        text_config=text(tokens, model_type="qwen2"),
        vision_config=vision(model_type="siglip_vision_model"),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        video_token_index=tokens.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grids,
    )
    images = LlavaOnevisionImageProcessor(size=SIZE, image_grid_pinpoints=grids)
    processor = images_only(LlavaOnevisionProcessor)(
        images,
        tokens,
        num_image_tokens=(SIDE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        chat_template=template("<image>"),
    )
    return LlavaOnevisionForConditionalGeneration(config), processor


def _blip(kind: Any, tokens: Any) -> Any:
    qformer = {**WIDTH, "num_hidden_layers": 2, "encoder_hidden_size": 32}
    qformer |= {"cross_attention_frequency": 1, "vocab_size": len(tokens)}
    qformer |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return kind(
        vision_config=vision(),
        qformer_config={**qformer, "pad_token_id": tokens.pad_token_id},
        text_config=text(tokens, model_type="llama"),
        num_query_tokens=4,
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
    )


def blip_2() -> Made:
    tokens = tokenizer()
    processor = Blip2Processor(BlipImageProcessor(size=SIZE), tokens, num_query_tokens=4)
    return Blip2ForConditionalGeneration(_blip(Blip2Config, tokens)), processor


def instructblip() -> Made:
    tokens = tokenizer()
    images = BlipImageProcessor(size=SIZE)
    processor = InstructBlipProcessor(images, tokens, tokens, num_query_tokens=4)
    return InstructBlipForConditionalGeneration(_blip(InstructBlipConfig, tokens)), processor


QWEN = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def _qwen(kind: Any, tokens: Any, see: dict[str, Any], rope: dict[str, Any]) -> Any:
    start, end, image, video = tokens.convert_tokens_to_ids(QWEN)
    return kind(
        text_config=text(tokens, rope_parameters=rope),
        vision_config={**see, "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3},
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )


def qwen2_5_vl() -> Made:
    tokens = tokenizer(*QWEN)
    see = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2}
    see |= {"out_hidden_size": 32, "patch_size": 8, "window_size": 32, "fullatt_block_indexes": [1]}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    config = _qwen(Qwen2_5_VLConfig, tokens, see, rope)
    images = Qwen2VLImageProcessor(patch_size=8, min_pixels=32 * 32, max_pixels=64 * 64)
    chat = template("<|vision_start|><|image_pad|><|vision_end|>")
    processor = images_only(Qwen2_5_VLProcessor)(images, tokens, None, chat_template=chat)
    return Qwen2_5_VLForConditionalGeneration(config), processor


def qwen3_vl() -> Made:
    tokens = tokenizer(*QWEN)
    see = {"depth": 3, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2}
    see |= {"out_hidden_size": 32, "patch_size": 8, "num_position_embeddings": 16}
    see |= {"deepstack_visual_indexes": [0, 1]}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    config = _qwen(Qwen3VLConfig, tokens, see, rope)
    images = Qwen2VLImageProcessor(
        patch_size=8,
        size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64},
    )
    chat = template("<|vision_start|><|image_pad|><|vision_end|>")
    processor = images_only(Qwen3VLProcessor)(images, tokens, None, chat_template=chat)
    return Qwen3VLForConditionalGeneration(config), processor


def internvl() -> Made:
    named = {"start_image_token": "<img>", "end_image_token": "</img>"}
    named |= {"context_image_token": "<IMG_CONTEXT>", "video_token": "<video>"}
    tokens = tokenizer(*named.values(), **named)
    config = InternVLConfig(
        text_config=text(tokens, model_type="qwen2"),
        vision_config=vision(image_size=[SIDE, SIDE], patch_size=[PATCH, PATCH]),
        image_token_id=tokens.convert_tokens_to_ids("<IMG_CONTEXT>"),
        downsample_ratio=0.5,
    )
    images = GotOcr2ImageProcessor(size=SIZE, crop_to_patches=True, min_patches=1, max_patches=2)
    processor = images_only(InternVLProcessor)(
        images, tokens, None, image_seq_length=4, chat_template=template("<IMG_CONTEXT>")
    )
    return InternVLForConditionalGeneration(config), processor


IDEFICS = ["<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
IDEFICS += [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]


def _idefics(kind: Any, tokens: Any) -> Any:
    return kind(
        text_config=text(tokens, model_type="llama"),
        vision_config=vision(max_image_size={"longest_edge": SIDE}),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokens.pad_token_id,
    )


def idefics3() -> Made:
    tokens = tokenizer(*IDEFICS)
    images = Idefics3ImageProcessor(
        size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}
    )
    processor = Idefics3Processor(
        images, tokens, image_seq_len=4, chat_template=template("<image>")
    )
    return Idefics3ForConditionalGeneration(_idefics(Idefics3Config, tokens)), processor


def smolvlm() -> Made:
    tokens = tokenizer(*IDEFICS)
    images = SmolVLMImageProcessor(
        size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}
    )
    processor = images_only(SmolVLMProcessor)(
        images, tokens, None, image_seq_len=4, chat_template=template("<image>")
    )
    return SmolVLMForConditionalGeneration(_idefics(SmolVLMConfig, tokens)), processor


def paligemma() -> Made:
    tokens = tokenizer("<bos>")
    tokens.bos_token = "<bos>"
    images = SiglipImageProcessor(size=SIZE)
    images.image_seq_length = (SIDE // PATCH) ** 2
    processor = PaliGemmaProcessor(images, tokens)  # which adds tokens of its own
    config = PaliGemmaConfig(
        text_config=text(processor.tokenizer, model_type="gemma"),
        vision_config=vision(
            model_type="siglip_vision_model", projection_dim=32, vision_use_head=False
        ),
        image_token_index=processor.image_token_id,
        projection_dim=32,
    )
    return PaliGemmaForConditionalGeneration(config), processor


FAMILIES: dict[str, Callable[[], Made]] = {
    make.__name__: make
    for make in (
        *(llava, llava_next, llava_onevision, blip_2, instructblip, qwen2_5_vl),
        *(qwen3_vl, internvl, idefics3, smolvlm, paligemma),
    )
}


def write_model(family: str, folder: Path) -> Path:
    """A folder that `from_pretrained` reads; words lie far apart, so that it learns in a few steps."""
    torch.manual_seed(0)
    model, processor = FAMILIES[family]()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                scale = 4 if "embed_tokens" in name and family != "paligemma" else 1
                fan = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape) * scale * fan**-0.5)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
