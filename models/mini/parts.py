"""The parts of both classes of model under the same names, and the losses they are trained with."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    InstructBlipForConditionalGeneration,
    LlamaModel,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from models.mini.batches import Batch, Encoder, overwrite
from models.mini.examples import Corpus, reworded


class Parts(ABC):
    """Vision tower, connector, language model and its head."""

    encoder: Encoder
    language: LlamaModel
    head: nn.Module

    @abstractmethod
    def parameters(self) -> Iterator[nn.Parameter]: ...

    @abstractmethod
    def tower(self) -> nn.Module: ...

    @abstractmethod
    def connector(self) -> Iterator[nn.Parameter]: ...

    @abstractmethod
    def connect(self, hidden: Tensor, questions: list[str]) -> Tensor:
        """What the language model is shown of the tower's hidden states, when asked this."""

    def look(self, pixels: Tensor) -> Tensor:
        """The tower's hidden states."""
        return self.tower()(pixels).last_hidden_state

    def answer_loss(self, visual: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of the answers to questions about what is shown."""
        embedded = self.language.embed_tokens(batch.ids[:, visual.shape[1] :])
        return self._loss(torch.cat([visual, embedded], 1), batch)

    def text_loss(
        self, corpus: Corpus, plain_rows: int, visual: Tensor, chance: random.Random
    ) -> Tensor:
        """Sentences, and questions about texts that stand among other images' visual tokens."""
        plain = self.encoder.sentences(chance.choices(corpus.sentences, k=plain_rows))
        made = [chance.choice(corpus.makers)(chance) for _ in visual]
        asked = self.encoder.questions(
            [(q.shown, reworded(q.question, chance), q.answer) for q in made]
        )
        shown = overwrite(visual, asked, self.language.embed_tokens, chance)
        embedded = self.language.embed_tokens(plain.ids)
        return self._loss(embedded, plain) + self.answer_loss(shown, asked)

    def _loss(self, embeddings: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy where the labels count; no other logits are computed."""
        hidden = self.language(
            inputs_embeds=embeddings, attention_mask=batch.mask
        ).last_hidden_state[:, :-1]
        counts = batch.labels[:, 1:] != -100
        return functional.cross_entropy(self.head(hidden[counts]), batch.labels[:, 1:][counts])


class LlavaParts(Parts):
    """A LLaVA's parts."""

    def __init__(self, model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast):
        self.model, self.head = model, model.lm_head
        self.language = model.model.language_model
        self.encoder = Encoder(tokenizer, model.config.image_seq_length)

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.model.parameters()

    def tower(self) -> nn.Module:
        return self.model.model.vision_tower

    def connector(self) -> Iterator[nn.Parameter]:
        return self.model.model.multi_modal_projector.parameters()

    def connect(self, hidden: Tensor, questions: list[str]) -> Tensor:
        return self.model.model.multi_modal_projector(hidden)


class InstructBlipParts(Parts):
    """An InstructBLIP's parts; its connector reads the question."""

    def __init__(
        self, model: InstructBlipForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
    ):
        self.model, self.head = model, model.language_model.lm_head
        self.language = model.language_model.model
        self.encoder = Encoder(tokenizer, model.config.num_query_tokens)

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.model.parameters()

    def tower(self) -> nn.Module:
        return self.model.vision_model

    def connector(self) -> Iterator[nn.Parameter]:
        yield self.model.query_tokens
        yield from self.model.qformer.parameters()
        yield from self.model.language_projection.parameters()

    def connect(self, hidden: Tensor, questions: list[str]) -> Tensor:
        asked = self.encoder.instructions(questions)
        queries = self.model.query_tokens.expand(len(hidden), -1, -1)
        ones = torch.ones(queries.shape[:2], dtype=torch.long)
        read = self.model.qformer(
            input_ids=asked.ids,
            attention_mask=torch.cat([ones, asked.mask], 1),
            query_embeds=queries,
            encoder_hidden_states=hidden,
        ).last_hidden_state
        return self.model.language_projection(read[:, : queries.shape[1]])
