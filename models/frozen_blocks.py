"""The frozen part of a vision tower whose module holds the connector too, as Qwen-VL's do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from models.family import Family
from models.frozen import CapturedFeatures, Frozen

PARTS = ("patch_embed", "pos_embed", "blocks")


class FrozenBlocks(Frozen):
    """Stand-in for the patch embedding and blocks of such a tower; the mergers stay in the model.

    Features are the outputs of the blocks that the mergers read, side by side: (patches, layers * width).
    """

    def __init__(self, base: Any, family: Family) -> None:
        super().__init__()
        assert family.vision_blocks is not None
        tower = base.get_submodule(family.vision_tower)
        count = len(tower.blocks)
        deepstack = getattr(base.config.vision_config, family.deepstack) if family.deepstack else ()
        self.blocks_read = sorted({*deepstack, count - 1})
        self.features: tuple[torch.Tensor, ...] = ()
        # Neither a tuple nor a dict makes them parts of the model.
        self._tower = (tower,)
        self._parts = {n: getattr(tower, n).eval() for n in PARTS if hasattr(tower, n)}
        tower.patch_embed = _PatchEmbedding(self, tower.patch_embed)
        if "pos_embed" in self._parts:
            tower.pos_embed = _Unregistered(tower.pos_embed)
        tower.blocks = torch.nn.ModuleList(
            _Block(self, number, block) for number, block in enumerate(tower.blocks)
        )

    def run_blocks(self, hidden: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        """Run all blocks in a row, with no merger in between, and return those that are read.

        ZeRO-3 would gather a merger in mid-tower, in which all ranks would have to take part.
        """
        outputs = []
        for number, block in enumerate(self._parts["blocks"]):
            hidden = block(hidden, **options)
            outputs += [hidden] if number in self.blocks_read else []
        return torch.cat(outputs, dim=-1)

    def hooked_module(self) -> torch.nn.Module:
        return self._tower[0]

    def frozen_modules(self) -> Iterable[torch.nn.Module]:
        return self._parts.values()

    def parameter(self) -> torch.nn.Parameter:
        return next(self._parts["patch_embed"].parameters())

    def restore(self) -> None:
        self.load()
        for name, part in self._parts.items():
            setattr(self._tower[0], name, part)

    def image_vector(self, features: torch.Tensor) -> torch.Tensor:
        return features.chunk(len(self.blocks_read), dim=-1)[-1].float().mean(0)


class _PatchEmbedding(torch.nn.Module):
    """Embeds pixels; splits features into the layers that they hold."""

    def __init__(self, frozen: FrozenBlocks, embed: Any) -> None:
        super().__init__()
        self._frozen, self._embed = (frozen,), (embed,)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        frozen = self._frozen[0]
        if frozen.feature_input:
            parts = pixels.chunk(len(frozen.blocks_read), dim=-1)
            frozen.features = tuple(part.contiguous() for part in parts)
            return frozen.features[-1]
        frozen.load()
        with torch.no_grad():
            return self._embed[0](pixels)


class _Unregistered(torch.nn.Module):
    """Module that runs without being a part of the model."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self._module = (module,)

    def forward(self, *args: Any) -> torch.Tensor:
        with torch.no_grad():
            return self._module[0](*args)


class _Block(torch.nn.Module):
    def __init__(self, frozen: FrozenBlocks, number: int, block: Any) -> None:
        super().__init__()
        self._frozen, self._number, self._block = (frozen,), number, (block,)

    def forward(self, hidden: torch.Tensor, **options: Any) -> torch.Tensor:
        frozen = self._frozen[0]
        is_read = self._number in frozen.blocks_read
        if frozen.feature_input:
            return frozen.features[frozen.blocks_read.index(self._number)] if is_read else hidden
        if frozen.capturing and len(frozen.blocks_read) > 1:
            raise CapturedFeatures(frozen.run_blocks(hidden, options))
        with torch.no_grad():
            hidden = self._block[0](hidden, **options)
        if frozen.capturing and is_read:
            raise CapturedFeatures(hidden)
        return hidden
