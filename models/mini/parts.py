"""Parts of both model classes under the same names, and the losses of their training."""

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
        """Return the language model's visual tokens for the tower's hidden states and the questions."""

    def embed_images(self, pixels: Tensor) -> Tensor:
        """Return the tower's hidden states."""
        return self.tower()(pixels).last_hidden_state

    def answer_loss(self, visual: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy of the answers to questions about the visual tokens."""
        embedded = self.language.embed_tokens(batch.ids[:, visual.shape[1] :])
        return self._loss(torch.cat([visual, embedded], 1), batch)

    def text_loss(
        self, corpus: Corpus, plain_rows: int, visual: Tensor, chance: random.Random
    ) -> Tensor:
        """Return the loss on sentences, and on questions about texts among other visual tokens."""
        plain = self.encoder.sentences(chance.choices(corpus.sentences, k=plain_rows))
        drawn = [chance.choice(corpus.makers)(chance) for _ in visual]
        questions = self.encoder.questions(
            [(q.shown, reworded(q.question, chance), q.answer) for q in drawn]
        )
        shown = overwrite(visual, questions, self.language.embed_tokens, chance)
        embedded = self.language.embed_tokens(plain.ids)
        return self._loss(embedded, plain) + self.answer_loss(shown, questions)

    def _loss(self, embeddings: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy at labelled tokens; no other logits are computed."""
        hidden = self.language(
            inputs_embeds=embeddings, attention_mask=batch.mask
        ).last_hidden_state[:, :-1]
        labelled = batch.labels[:, 1:] != -100
        return functional.cross_entropy(self.head(hidden[labelled]), batch.labels[:, 1:][labelled])


class LlavaParts(Parts):
    """Parts of a LLaVA."""

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
    """Parts of an InstructBLIP; its connector reads the question."""

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
        instructions = self.encoder.instructions(questions)
        queries = self.model.query_tokens.expand(len(hidden), -1, -1)
        ones = torch.ones(queries.shape[:2], dtype=torch.long)
        output = self.model.qformer(
            input_ids=instructions.ids,
            attention_mask=torch.cat([ones, instructions.mask], 1),
            query_embeds=queries,
            encoder_hidden_states=hidden,
        ).last_hidden_state
        return self.model.language_projection(output[:, : queries.shape[1]])
