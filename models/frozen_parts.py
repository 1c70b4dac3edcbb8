"""A model's frozen vision tower and Q-Former, whose outputs are cached in place of their inputs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from models.batching import FEATURES, PIXELS, QFORMER, QUERIES, Encoded, collate, joined
from models.family import Family
from models.frozen import Frozen, without_hooks
from models.frozen_blocks import FrozenBlocks
from models.frozen_qformer import FrozenQFormer
from models.frozen_tower import FrozenTower
from models.loading import IMAGES_PER_CALL


class FrozenParts:
    """Model whose vision tower and Q-Former are taken out while they are frozen."""

    def __init__(self, base: Any, family: Family, processor: Any) -> None:
        self.base, self.family, self.processor = base, family, processor
        self.tower: Frozen | None = self._freeze_tower()
        """None while the tower itself is trained."""
        self.qformer: FrozenQFormer | None = None
        """None without one, and while it or the tower is trained."""
        self.recompute_queries = False
        """True while a frozen Q-Former runs anew on every example, as one that is trained does."""

    def _freeze_tower(self) -> Frozen:
        """Take the tower out of the model, or its blocks where it holds the connector too."""
        kind = FrozenBlocks if self.family.vision_blocks else FrozenTower
        return kind(self.base, self.family)

    def _place_parts(self, tower: bool, qformer: bool) -> None:
        """Make vision tower and Q-Former parts of the model where they are trained; else take them out."""
        if tower and self.tower is not None:
            self.tower.restore()
            self.tower = None
        elif not tower and self.tower is None:
            self.tower = self._freeze_tower()
        inside = tower or qformer or not self.family.qformer
        if inside and self.qformer is not None:
            self.qformer.restore()
            self.qformer = None
        elif not inside and self.qformer is None:
            self.qformer = FrozenQFormer(self.base)

    def with_features(self, batch: Sequence[Encoded]) -> list[Encoded]:
        """Return the examples with the frozen tower's output in place of pixels.

        Images of one shape are embedded together, in groups of `IMAGES_PER_CALL`.
        """
        if self.tower is None:
            return list(batch)
        embedded, places = list(batch), [i for i, e in enumerate(batch) if PIXELS in e.prompt]
        shapes = {tuple(v.shape for v in batch[i].images.values()) for i in places}
        size = IMAGES_PER_CALL if len(shapes) == 1 else 1
        for group in _groups(places, size):
            features = self._features([batch[i] for i in group], size)
            for place, of_example in zip(group, features, strict=True):
                embedded[place] = batch[place].with_features(of_example)
        return embedded

    def with_queries(self, batch: Sequence[Encoded]) -> list[Encoded]:
        """Return the examples with the frozen Q-Former's output beside the features, in such groups."""
        embedded = list(batch)
        places = [i for i, encoded in enumerate(batch) if self.lacks_queries(encoded)]
        for group in _groups(places, IMAGES_PER_CALL):
            queries = self._queries([batch[i] for i in group], IMAGES_PER_CALL)
            for place, of_example in zip(group, queries, strict=True):
                embedded[place] = batch[place].with_queries(of_example)
        return embedded

    def lacks_queries(self, encoded: Encoded) -> bool:
        """Return whether an example has features for a frozen Q-Former, and no queries from it."""
        return self.qformer is not None and (
            FEATURES in encoded.prompt and QUERIES not in encoded.prompt
        )

    def image_vector(self, encoded: Encoded) -> torch.Tensor | None:
        """Return an example's features as one vector (width,); None without images."""
        assert self.tower is not None, "the vision tower must be frozen"
        features = encoded.prompt.get(FEATURES)
        return None if features is None else self.tower.image_vector(features)

    def _features(self, group: Sequence[Encoded], size: int) -> Iterator[torch.Tensor]:
        """Yield the features of each example's images, on the CPU.

        Copies of the last example fill the group up to `size`.
        """
        tower, full = self.tower, [*group, *[group[-1]] * (size - len(group))]
        assert tower is not None
        tower.load()
        parameter = tower.parameter()
        inputs = {}
        for name in full[0].images:
            whole = joined([e.images[name] for e in full])
            dtype = parameter.dtype if whole.is_floating_point() else None
            inputs[name] = whole.to(parameter.device, dtype)
        output = tower.capture(lambda: self.base.get_image_features(**inputs, **self._unused))
        for features in output.cpu().chunk(size)[: len(group)]:
            # Not a view, which would keep all of them as long as one is needed.
            yield features[None].clone() if self.family.nested_tiles else features.clone()

    def _queries(self, group: Sequence[Encoded], size: int) -> Iterator[torch.Tensor]:
        """Yield the queries of each example, (1, 1, queries, width), on the CPU.

        They have the shape of a picture, as features do.
        """
        assert self.qformer is not None and self.tower is not None
        full = [*group, *[group[-1]] * (size - len(group))]
        columns, _ = collate(self.processor, [e.without(QUERIES) for e in full], False)
        device = self.qformer.parameter().device
        # In the type of the tower's output, as if it were computed just now.
        inputs = {n: columns[n].to(device) for n in QFORMER if n in columns}
        pixels = columns[FEATURES].to(device)
        with without_hooks(self.tower.hooked_module()), self.tower.reads_features(True):
            output = self.qformer.capture(
                lambda: self.base.get_image_features(pixel_values=pixels, **inputs)
            )
        for queries in output.cpu()[: len(group)]:
            yield queries[None, None].clone()

    @property
    def _unused(self) -> dict[str, None]:
        """Arguments that the stock method asks for and the tower does not read."""
        return {"qformer_input_ids": None} if self.family.model_type == "instructblip" else {}

    def _select_inputs(self, batch: Sequence[Encoded]) -> list[Encoded]:
        """Return the examples with either features or queries, which stand for each other."""
        queries = self.qformer is not None and not (
            self.recompute_queries or any(map(self.lacks_queries, batch))
        )
        return [e.without(FEATURES if queries else QUERIES) for e in batch]

    @contextlib.contextmanager
    def _reading(self, features: bool, queries: bool) -> Iterator[None]:
        """Make the stand-ins take their input for features, or for queries, for the block."""
        assert self.tower is not None or not features, (
            "features of a tower that has been trained since"
        )
        with (
            self.tower.reads_features(features) if self.tower else contextlib.nullcontext(),
            self.qformer.reads_features(queries) if self.qformer else contextlib.nullcontext(),
        ):
            yield


def _groups(places: Sequence[int], size: int) -> list[Sequence[int]]:
    return [places[start : start + size] for start in range(0, len(places), size)]
