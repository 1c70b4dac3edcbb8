"""Architectures of the embedded model, randomly initialised."""

from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    GenerationConfig,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from models.mini.tokenizer import (
    ANSWER,
    EOS,
    IMAGE,
    IMAGE_SIZE,
    PAD,
    PATCH_SIZE,
    VISUAL_TOKENS,
)

TOWER_WIDTH = 224
TOWER_LAYERS = 6
LANGUAGE_WIDTH = 192
LANGUAGE_LAYERS = 3
QUERY_TOKENS = 10
QFORMER_LAYERS = 2
LONGEST_ANSWER = 16


def tower_sizes() -> dict[str, Any]:
    """Return the sizes of the vision tower: 4 x 4 patches and a class token."""
    return {
        "hidden_size": TOWER_WIDTH,
        "intermediate_size": 4 * TOWER_WIDTH,
        "num_hidden_layers": TOWER_LAYERS,
        "num_attention_heads": 7,
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH_SIZE,
        "hidden_act": "gelu",
    }


def language_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """Return the configuration of a three-layer Llama with tied embeddings."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=LANGUAGE_WIDTH,
        intermediate_size=512,
        num_hidden_layers=LANGUAGE_LAYERS,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.get_vocab()[PAD],
        bos_token_id=tokenizer.get_vocab()[ANSWER],
        eos_token_id=tokenizer.get_vocab()[EOS],
    )


def generation_config(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    """Return the settings of greedy answers that end at the end-of-sequence token."""
    return GenerationConfig(
        do_sample=False,
        max_new_tokens=LONGEST_ANSWER,
        pad_token_id=tokenizer.get_vocab()[PAD],
        bos_token_id=tokenizer.get_vocab()[ANSWER],
        eos_token_id=tokenizer.get_vocab()[EOS],
    )


def new_llava(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlavaForConditionalGeneration:
    """Return a LLaVA: CLIP vision tower, two-layer MLP projector, Llama."""
    torch.manual_seed(seed)
    tokens: dict[str, Any] = {
        "image_token_id": tokenizer.get_vocab()[IMAGE],
        "pad_token_id": tokenizer.get_vocab()[PAD],
    }
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**tower_sizes()),
        text_config=language_config(tokenizer),
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        image_seq_length=VISUAL_TOKENS,
        tie_word_embeddings=True,
        **tokens,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config = generation_config(tokenizer)
    return model


def new_instructblip(
    tokenizer: PreTrainedTokenizerFast, seed: int
) -> InstructBlipForConditionalGeneration:
    """Return an InstructBLIP: vision tower, Q-Former that reads the question, projection, Llama."""
    torch.manual_seed(seed)
    qformer = InstructBlipQFormerConfig(
        vocab_size=len(tokenizer),
        hidden_size=LANGUAGE_WIDTH,
        num_hidden_layers=QFORMER_LAYERS,
        num_attention_heads=6,
        intermediate_size=2 * LANGUAGE_WIDTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=64,
        cross_attention_frequency=1,
        encoder_hidden_size=TOWER_WIDTH,
    )
    config = InstructBlipConfig(
        vision_config=InstructBlipVisionConfig(**tower_sizes(), initializer_range=0.02).to_dict(),
        qformer_config=qformer.to_dict(),
        text_config=language_config(tokenizer).to_dict(),
        num_query_tokens=QUERY_TOKENS,
        image_token_index=tokenizer.get_vocab()[IMAGE],
    )
    model = InstructBlipForConditionalGeneration(config)
    # The class starts all queries at zero: they would stay equal.
    torch.nn.init.normal_(model.query_tokens, std=1.0)
    model.generation_config = generation_config(tokenizer)
    model.language_model.generation_config = generation_config(tokenizer)
    return model
