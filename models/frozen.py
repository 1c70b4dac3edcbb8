"""The vision tower while it is frozen: looked through once an image, not once an epoch.

Its output is then a property of the image. The tower is taken out of the model, so that ZeRO neither
splits nor gathers it, and what it saw is given to the model in its place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from models.family import Family

LOOKED_AT_ONCE = 8
"""Images per call of the tower. Sums may differ in their last bits with the size of a batch: all calls
have this one, so that an image's features do not depend on what it happened to be met with."""


class FrozenTower(torch.nn.Module):
    """Stands where the vision tower stood, and passes on what was seen; pixels go through the tower.

    Features are what the connector reads: (tokens, width), or (layers, tokens, width) where the
    model's configuration names several layers.
    """

    def __init__(self, base: Any, family: Family) -> None:
        super().__init__()
        self._tower = [
            base.get_submodule(family.vision_tower)
        ]  # in a list: not a part of the model
        self._layers = getattr(base.config, family.vision_layer) if family.vision_layer else None
        self._seen = False
        base.set_submodule(family.vision_tower, self)

    def forward(self, pixel_values: torch.Tensor, **options: Any) -> BaseModelOutputWithPooling:
        """The tower's output, or what stands for it: the layers that are read, and no others."""
        if not self._seen:
            with torch.no_grad():
                return self._tower[0](pixel_values, **options)
        layers: Any = None
        if isinstance(self._layers, int):
            layers = {self._layers: pixel_values}
        elif self._layers is not None:
            layers = dict(zip(self._layers, pixel_values.unbind(1), strict=True))
        last: Any = pixel_values
        return BaseModelOutputWithPooling(last_hidden_state=last, hidden_states=layers)

    @contextlib.contextmanager
    def seen(self, seen: bool) -> Iterator[None]:
        """Whether the model is given features in place of pixels."""
        self._seen, before = seen, self._seen
        try:
            yield
        finally:
            self._seen = before

    @torch.no_grad()
    def look(self, images: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The features of each image's pixels, (channels, height, width) all of one size, on the CPU."""
        parameter = next(self._tower[0].parameters())
        found: list[torch.Tensor] = []
        for i in range(0, len(images), LOOKED_AT_ONCE):
            part = list(images[i : i + LOOKED_AT_ONCE])
            full = torch.stack(part + part[-1:] * (LOOKED_AT_ONCE - len(part)))
            features = self._read(full.to(parameter.device, parameter.dtype)).cpu()
            found += [f.clone() for f in features[: len(part)]]  # not a view: freed one by one
        return found

    def _read(self, pixels: torch.Tensor) -> torch.Tensor:
        output = self._tower[0](pixels, output_hidden_states=self._layers is not None)
        if self._layers is None:
            return output.last_hidden_state
        if isinstance(self._layers, int):
            return output.hidden_states[self._layers]
        return torch.stack([output.hidden_states[layer] for layer in self._layers], dim=1)

    def move(self, device: torch.device | str) -> None:
        """The tower moves with the model, of which it is no part."""
        self._tower[0].to(device)
