"""A frozen vision tower that is a module of its own, beside its connector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from models.family import Family
from models.frozen import CapturedFeatures, Frozen

CLASS_TOKENS = ("class_embedding", "cls_token")
"""Names of the parameter that holds a tower's class token, the first of its tokens."""


class FrozenTower(Frozen):
    """Stand-in for the vision tower: passes features on, and runs the tower on pixels."""

    def __init__(self, base: Any, family: Family) -> None:
        super().__init__()
        # In tuples: not a part of the model. Without dropout, even after a trial that trained it.
        self._tower = (base.get_submodule(family.vision_tower).eval(),)
        self._base, self._path = (base,), family.vision_tower
        self._layers = family.layers_read(base.config)
        base.set_submodule(family.vision_tower, self)

    def forward(self, pixel_values: torch.Tensor, **options: Any) -> BaseModelOutputWithPooling:
        """Return the tower's output; for features, the layers that are read and no others."""
        if self.feature_input:
            return self._output(pixel_values)
        if self.capturing:
            raise CapturedFeatures(self._layers_of(pixel_values, options))
        self.load()
        with torch.no_grad():
            return self._tower[0](pixel_values, **options)

    def _output(self, features: torch.Tensor) -> BaseModelOutputWithPooling:
        last: Any = features[:, -1]
        layers: Any = self._layers and dict(zip(self._layers, features.unbind(1), strict=True))
        return BaseModelOutputWithPooling(last_hidden_state=last, hidden_states=layers)

    def _layers_of(self, pixels: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        """Return the layers that are read, (images, layers, tokens, width)."""
        if self._layers is None:
            return self._tower[0](pixels, **options).last_hidden_state[:, None]
        output = self._tower[0](pixels, **options | {"output_hidden_states": True})
        return torch.stack([output.hidden_states[layer] for layer in self._layers], dim=1)

    def hooked_module(self) -> torch.nn.Module:
        return self

    def frozen_modules(self) -> Iterable[torch.nn.Module]:
        return self._tower

    def parameter(self) -> torch.nn.Parameter:
        return next(self._tower[0].parameters())

    def restore(self) -> None:
        self.load()
        self._base[0].set_submodule(self._path, self._tower[0])

    def image_vector(self, features: torch.Tensor) -> torch.Tensor:
        # The tokens of each image or tile, in the last layer that is read.
        tokens = features.flatten(0, -4)[:, -1].float()
        classed = any(n.endswith(CLASS_TOKENS) for n, _ in self._tower[0].named_parameters())
        return (tokens[:, 0] if classed else tokens.mean(1)).mean(0)
