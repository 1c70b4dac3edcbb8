"""A large multimodal model as the loop sees it: loaded, adapted, fed with examples, asked for answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from transformers.utils import logging as transformers_logging

from models.batching import FEATURES, PIXELS, QFORMER, QUERIES, Encoded, collate, joined
from models.frozen import Frozen, freeze, mapped, without_hooks
from models.frozen_qformer import FrozenQFormer
from models.loading import IMAGES_PER_CALL, answers_at_once, load_base
from models.location import folder_family
from models.parts import lora_config, trained_prefixes
from models.processors import load_processor
from spaces.adapter import Adapter
from spaces.loading import Loading

transformers_logging.disable_progress_bar()  # a bar per rank would tear the search's own view

PLAIN = Loading()
PEFT_PREFIX = "base_model.model."


class LMM:
    """A stock transformers model with its processor, and the parts of it that are trained.

    The weights on disk are read once; `adapt` puts other adapters on the same base.
    """

    def __init__(self, folder: Path, loading: Loading = PLAIN) -> None:
        self.folder = folder
        self.family = folder_family(folder)
        self.processor: Any = load_processor(folder)
        self.base: Any = load_base(folder, loading)
        self.model: Any = self.base
        self.base.requires_grad_(False)
        self.token_embeddings: torch.Tensor = self.base.get_input_embeddings().weight.detach()
        """(vocabulary, width) as they were loaded, whatever is trained or split up later."""
        self.tower: Frozen | None = freeze(self.base, self.family)
        """None while the tower itself is trained."""
        self.qformer: FrozenQFormer | None = None
        """None without one, and while it or the tower is trained."""
        self.recompute_queries = False
        """Whether a frozen Q-Former reads anew whatever it is given, as one that is trained does."""
        self.peft: PeftModel | None = None
        self._connector = {
            name: p.detach().clone()
            for name, p in self.base.named_parameters()
            if name.startswith(self.family.connector)
        }

    def adapt(self, adapter: Adapter, seed: int) -> None:
        """Make `adapter.parts` trainable, at their initial values; LoRA is drawn from `seed`.

        LoRA's second factor starts at zero, so that the model's answers are those of the base.
        """
        if self.peft is not None:
            self.model = self.base = self.peft.unload()
            self.peft = None
        self.base.requires_grad_(False)
        with torch.no_grad():
            for name, parameter in self.base.named_parameters():
                if name in self._connector:
                    parameter.copy_(self._connector[name])
        self._place_parts(adapter.trains("vision_lora"), adapter.trains("connector", "qformer"))
        weight = self.base.get_input_embeddings().weight
        if adapter.trains("lm") and weight.data_ptr() == self.token_embeddings.data_ptr():
            weight.data = weight.data.clone()  # what is trained is not what texts are placed by
        if adapter.lora:
            torch.manual_seed(seed)
            config = lora_config(self.base, self.family, adapter)
            self.peft = get_peft_model(self.base, config)  # type: ignore[assignment]
            self.model = self.peft
        trained = trained_prefixes(self.family, adapter)
        for name, parameter in self.named_weights():
            if name.startswith(trained):
                parameter.requires_grad_(True)
        self._initial = {n: p.detach().clone() for n, p in self.trainable().items()}

    def _place_parts(self, tower: bool, qformer: bool) -> None:
        """Make vision tower and Q-Former parts of the model, or take them out."""
        if tower and self.tower is not None:
            self.tower.restore()
            self.tower = None
        elif not tower and self.tower is None:
            self.tower = freeze(self.base, self.family)
        inside = tower or qformer or not self.family.qformer
        if inside and self.qformer is not None:
            self.qformer.restore()
            self.qformer = None
        elif not inside and self.qformer is None:
            self.qformer = FrozenQFormer(self.base)

    def named_weights(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """All parameters by their name in the plain model, whether or not peft wraps it."""
        for name, parameter in self.model.named_parameters():
            yield name.removeprefix(PEFT_PREFIX), parameter

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that are trained, by name."""
        return {name: p for name, p in self.named_weights() if p.requires_grad}

    def initial(self) -> dict[str, torch.Tensor]:
        """The trainable parameters' values before any stage."""
        return self._initial

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def to(self, device: torch.device | str) -> None:
        """Move the weights, those of frozen parts too."""
        self.base.to(device)
        for part in (self.tower, self.qformer):
            if part is not None:
                part.move(device)

    def offload(self, folder: Path) -> None:
        """Leave in `folder`, for all processes to map, what is hardly read where features are kept."""
        if self.tower is not None:
            self.tower.offload(folder / "tower.safetensors")
        tokens = {"tokens": self.token_embeddings}
        self.token_embeddings = mapped(tokens, folder / "tokens.safetensors").get(
            "tokens", self.token_embeddings
        )

    def with_features(self, batch: Sequence[Encoded]) -> list[Encoded]:
        """The examples with what the frozen tower saw in place of the pixels, where there are any.

        Those of one shape are looked at together, in groups of `IMAGES_PER_CALL`.
        """
        if self.tower is None:
            return list(batch)
        seen, places = list(batch), [i for i, e in enumerate(batch) if PIXELS in e.prompt]
        shapes = {tuple(v.shape for v in batch[i].images.values()) for i in places}
        size = IMAGES_PER_CALL if len(shapes) == 1 else 1
        for group in _groups(places, size):
            found = self._look([batch[i] for i in group], size)
            for place, features in zip(group, found, strict=True):
                seen[place] = batch[place].with_features(features)
        return seen

    def with_queries(self, batch: Sequence[Encoded]) -> list[Encoded]:
        """The examples with what a frozen Q-Former reads in what was seen, in such groups, too."""
        read, places = list(batch), [i for i, e in enumerate(batch) if self.lacks_queries(e)]
        for group in _groups(places, IMAGES_PER_CALL):
            found = self._read([batch[i] for i in group], IMAGES_PER_CALL)
            for place, queries in zip(group, found, strict=True):
                read[place] = batch[place].with_queries(queries)
        return read

    def lacks_queries(self, encoded: Encoded) -> bool:
        """Whether a frozen Q-Former is there that has not read what was seen of an example."""
        return self.qformer is not None and (
            FEATURES in encoded.prompt and QUERIES not in encoded.prompt
        )

    def _look(self, group: Sequence[Encoded], size: int) -> Iterator[torch.Tensor]:
        """The features of each example's images, on the CPU; the last stands in for those lacking."""
        tower, full = self.tower, [*group, *[group[-1]] * (size - len(group))]
        assert tower is not None
        tower.load()
        parameter = tower.parameter()
        inputs = {}
        for name in full[0].images:
            whole = joined([e.images[name] for e in full])
            kind = parameter.dtype if whole.is_floating_point() else None
            inputs[name] = whole.to(parameter.device, kind)
        found = tower.capture(lambda: self.base.get_image_features(**inputs, **self._unread))
        for features in found.cpu().chunk(size)[: len(group)]:
            # Not a view, which would keep all of them as long as one is needed.
            yield features[None].clone() if self.family.nested_tiles else features.clone()

    def _read(self, group: Sequence[Encoded], size: int) -> Iterator[torch.Tensor]:
        """(1, 1, queries, width) of each example, on the CPU, as a picture in place of the features."""
        assert self.qformer is not None and self.tower is not None
        full = [*group, *[group[-1]] * (size - len(group))]
        columns, _ = collate(self.processor, [e.without(QUERIES) for e in full], False)
        device = self.qformer.parameter().device
        # In the type of the tower's output, as if it were seen just now.
        inputs = {n: columns[n].to(device) for n in QFORMER if n in columns}
        pixels = columns[FEATURES].to(device)
        with without_hooks(self.tower.hooked_module()), self.tower.reads_features(True):
            found = self.qformer.capture(
                lambda: self.base.get_image_features(pixel_values=pixels, **inputs)
            )
        for queries in found.cpu()[: len(group)]:
            yield queries[None, None].clone()

    @property
    def _unread(self) -> dict[str, None]:
        """What the stock method asks for and the tower does not read."""
        return {"qformer_input_ids": None} if self.family.model_type == "instructblip" else {}

    def image_vector(self, encoded: Encoded) -> torch.Tensor | None:
        """What the frozen tower sees in an example's images, as one vector (width,); None without any."""
        assert self.tower is not None, "the vision tower must be frozen"
        features = encoded.prompt.get(FEATURES)
        return None if features is None else self.tower.image_vector(features)

    def answer_logits(self, batch: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (examples, longest answer, vocabulary) in fp32 at the answers' tokens, and those tokens.

        The tokens are padded with -100. Logits are computed for the answers alone: prompts are padded on
        the left, so that the answers are the last columns of every row.
        """
        inputs, answers = self._collated(batch, with_answers=True)
        width = answers.shape[1]
        # Positions rather than a count: they are gathered into a contiguous tensor, which the head
        # multiplies in one product instead of one per example.
        length = inputs["input_ids"].shape[1]
        kept = torch.arange(length - width - 1, length - 1, device=self.device)
        with self._given(inputs) as given:
            logits = self.model(**given, logits_to_keep=kept, use_cache=False).logits.float()
        return logits, answers.to(logits.device)

    def answer_loss(self, batch: Sequence[Encoded]) -> torch.Tensor:
        """Summed negative log-likelihood of the answers' tokens, in nats (a scalar)."""
        logits, answers = self.answer_logits(batch)
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), answers.flatten(), ignore_index=-100, reduction="sum"
        )

    @torch.no_grad()
    def inference_logits(self, batch: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
        """`answer_logits` without gradients and dropout."""
        with evaluating(self.model):
            return self.answer_logits(batch)

    @torch.no_grad()
    def answers(
        self, batch: Sequence[Encoded], max_new_tokens: int, synced: bool = False
    ) -> list[str]:
        """Greedy answers, one string an example; `synced` where ranks hold parts of the weights."""
        inputs, _ = self._collated(batch, with_answers=False)
        with evaluating(self.model), self._given(inputs) as given:
            output = self.model.generate(
                **given,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                repetition_penalty=1.0,  # whatever the folder's generation_config.json prefers
                synced_gpus=synced,
            )
        tokens = output[:, inputs["input_ids"].shape[1] :]
        return [
            text.strip() for text in self.processor.batch_decode(tokens, skip_special_tokens=True)
        ]

    def token_limit(self, asked: int) -> int:
        """The most tokens of an example: as many as asked for, or as the model has positions."""
        positions = getattr(self.base.config.get_text_config(), "max_position_embeddings", 0)
        return min(asked, positions) if asked and positions else asked or positions

    def answers_at_once(self, tokens: int) -> int:
        """Examples of so many tokens, answer included, that are answered in one batch."""
        own = next(self.base.parameters()).element_size()
        return answers_at_once(self.base.config.get_text_config(), tokens, own)

    @contextlib.contextmanager
    def _given(self, inputs: dict[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
        """The model's arguments where its weights are; features pass for pixels meanwhile."""
        dtype = next(self.model.parameters()).dtype
        moved = {}
        for name, value in inputs.items():
            argument = PIXELS if name in (FEATURES, QUERIES) else name
            moved[argument] = value.to(self.device, dtype if value.is_floating_point() else None)
        given, read = FEATURES in inputs or QUERIES in inputs, QUERIES in inputs
        assert self.tower is not None or not given, (
            "features of a tower that has been trained since"
        )
        with (
            self.tower.reads_features(given) if self.tower else contextlib.nullcontext(),
            self.qformer.reads_features(read) if self.qformer else contextlib.nullcontext(),
        ):
            yield moved

    def _collated(
        self, batch: Sequence[Encoded], with_answers: bool
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        # One stands for the other: what a Q-Former has read, while it is frozen, for what it reads.
        read = self.qformer is not None and not (
            self.recompute_queries or any(map(self.lacks_queries, batch))
        )
        batch = [e.without(FEATURES if read else QUERIES) for e in batch]
        return collate(self.processor, batch, with_answers, self.family.answer_token_type)


def _groups(places: Sequence[int], size: int) -> list[Sequence[int]]:
    return [places[start : start + size] for start in range(0, len(places), size)]


@contextlib.contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Without dropout meanwhile."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
