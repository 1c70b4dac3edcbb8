"""Tokenizer and processors of the embedded model."""

import copy
from collections.abc import Iterable

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import InstructBlipProcessor, LlavaProcessor, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

IMAGE_SIZE = 64
PATCH_SIZE = 16
VISUAL_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2 + 1
POOL_SIZE = 72
VOCABULARY = 3072
PAD, EOS, UNK, IMAGE, ANSWER = "<pad>", "</s>", "<unk>", "<image>", "<answer>"

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}" + ANSWER + "{%- endif -%}"
    "{%- if message['content'] is string -%}{{ message['content'] }}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}" + IMAGE + "{%- else -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{%- if message['role'] == 'assistant' -%}" + EOS + "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}" + ANSWER + "{%- endif -%}"
)


def train_tokenizer(sentences: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a lower-case BPE tokenizer; words include their leading space, digits stand alone."""
    bpe = Tokenizer(models.BPE(unk_token=UNK))
    bpe.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Digits(True)]
    )
    bpe.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, EOS, UNK, IMAGE, ANSWER],
        initial_alphabet=[*"abcdefghijklmnopqrstuvwxyz0123456789.,:;?!'-()\"&/"],
        show_progress=False,
    )
    bpe.train_from_iterator(sentences, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        additional_special_tokens=[IMAGE, ANSWER],
        padding_side="left",
        model_max_length=128,
        clean_up_tokenization_spaces=False,
    )


def image_processor() -> CLIPImageProcessorPil:
    """Return a processor that resizes to 64 x 64 and scales the pixels to [-1, 1]."""
    side = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    half = [0.5, 0.5, 0.5]
    return CLIPImageProcessorPil(
        size=side, crop_size=side, do_center_crop=False, image_mean=half, image_std=half
    )


def llava_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Return the LLaVA processor; its chat template is <image>question<answer>answer</s>."""
    return LlavaProcessor(
        image_processor(),
        tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE,
        num_additional_image_tokens=1,
    )


def instructblip_processor(
    tokenizer: PreTrainedTokenizerFast, query_tokens: int
) -> InstructBlipProcessor:
    """Return the InstructBLIP processor; without a chat template, its tokenizer adds <answer>."""
    language, qformer = copy.deepcopy(tokenizer), copy.deepcopy(tokenizer)
    language.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {ANSWER}",
        special_tokens=[(ANSWER, tokenizer.get_vocab()[ANSWER])],
    )
    qformer.padding_side = "right"
    return InstructBlipProcessor(
        image_processor(), language, qformer, num_query_tokens=query_tokens
    )
