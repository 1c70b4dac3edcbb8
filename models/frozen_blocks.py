"""The frozen part of a vision tower whose module holds the connector too, as Qwen-VL's do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from models.family import Family
from models.frozen import CapturedFeatures, Frozen

PARTS = ("patch_embed", "pos_embed", "blocks")


class FrozenBlocks(Frozen):
    """Stands for the patch embedding and the blocks of such a tower; the mergers stay in the model.

    Features are the outputs of the blocks that the mergers read, side by side: (patches, layers * width).
    """

    def __init__(self, base: Any, family: Family) -> None:
        super().__init__()
        assert family.vision_blocks is not None
        tower = base.get_submodule(family.vision_tower)
        count = len(tower.blocks)
        also = getattr(base.config.vision_config, family.deepstack) if family.deepstack else ()
        self.read = sorted({*also, count - 1})
        self.features: tuple[torch.Tensor, ...] = ()
        # Neither a tuple nor a dict makes them parts of the model.
        self._tower = (tower,)
        self._parts = {n: getattr(tower, n).eval() for n in PARTS if hasattr(tower, n)}
        tower.patch_embed = _Patches(self, tower.patch_embed)
        if "pos_embed" in self._parts:
            tower.pos_embed = _Aside(tower.pos_embed)
        tower.blocks = torch.nn.ModuleList(
            _Block(self, number, block) for number, block in enumerate(tower.blocks)
        )

    def through(self, hidden: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        """What is read of all blocks, one after the other, with no merger's turn in between.

        A merger in mid-tower would be gathered by ZeRO-3, in which all ranks would have to take part.
        """
        found = []
        for number, block in enumerate(self._parts["blocks"]):
            hidden = block(hidden, **options)
            found += [hidden] if number in self.read else []
        return torch.cat(found, dim=-1)

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
        return features.chunk(len(self.read), dim=-1)[-1].float().mean(0)


class _Patches(torch.nn.Module):
    """Pixels are embedded; features are taken apart into the layers that they hold."""

    def __init__(self, frozen: FrozenBlocks, embed: Any) -> None:
        super().__init__()
        self._frozen, self._embed = (frozen,), (embed,)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        frozen = self._frozen[0]
        if frozen.feature_input:
            parts = pixels.chunk(len(frozen.read), dim=-1)
            frozen.features = tuple(part.contiguous() for part in parts)
            return frozen.features[-1]
        frozen.load()
        with torch.no_grad():
            return self._embed[0](pixels)


class _Aside(torch.nn.Module):
    """A module that is used and no part of the model."""

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
        frozen, wanted = self._frozen[0], self._number in self._frozen[0].read
        if frozen.feature_input:
            return frozen.features[frozen.read.index(self._number)] if wanted else hidden
        if frozen.capturing and len(frozen.read) > 1:
            raise CapturedFeatures(frozen.through(hidden, options))
        with torch.no_grad():
            hidden = self._block[0](hidden, **options)
        if frozen.capturing and wanted:
            raise CapturedFeatures(hidden)
        return hidden
