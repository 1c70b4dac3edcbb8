"""The vision tower while it is frozen: looked through once an image, not once an epoch.

Its output is then a property of the image. The tower is taken out of the model, so that ZeRO neither
splits nor gathers it, and what it saw is given to the model in its place: as a picture with a channel
for each layer that is read, (layers, tokens, width), so that the stock code around the tower, which
deals in pictures, need not know.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers.modeling_outputs import BaseModelOutputWithPooling

from models.family import Family

CLASS_TOKENS = ("class_embedding", "cls_token")
"""Names of the parameter that a tower with a class token begins its tokens with."""


SPARE = 1.1
"""A disk must hold so much more than what is to be written."""


class CapturedFeatures(Exception):
    """Ends a look through the tower before the connector's turn: `features` is what was seen."""

    def __init__(self, features: torch.Tensor) -> None:
        self.features = features


@contextlib.contextmanager
def without_hooks(module: torch.nn.Module) -> Iterator[None]:
    """Without the hooks of a module and its parts.

    Those of ZeRO-3 count what runs, and end where ranks differ in it: each looks at examples of its own.
    """
    parts = list(module.modules())
    hooks = [(part._forward_pre_hooks, part._forward_hooks) for part in parts]
    for part in parts:
        part._forward_pre_hooks, part._forward_hooks = OrderedDict(), OrderedDict()
    try:
        yield
    finally:
        for part, (before, after) in zip(parts, hooks, strict=True):
            part._forward_pre_hooks, part._forward_hooks = before, after


def mapped(tensors: Mapping[str, torch.Tensor], file: Path) -> dict[str, torch.Tensor]:
    """The same tensors in the pages of `file`, which is written unless it is there; {} if it has others.

    Raises `OSError`, and leaves nothing behind, where the disk is short.
    """
    if not file.exists():
        size = sum(t.nbytes for t in tensors.values())
        file.parent.mkdir(parents=True, exist_ok=True)
        if size * SPARE > shutil.disk_usage(file.parent).free:
            raise OSError(f"{file.parent} is short of space for {size / 1e9:.1f} GB")
        temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
        try:
            save_file({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, temporary)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            # The first one stands: another process may have mapped it already.
            with contextlib.suppress(FileExistsError):
                os.link(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)
    found = load_file(file)
    shapes = [{n: (t.shape, t.dtype) for n, t in side.items()} for side in (found, tensors)]
    return found if shapes[0] == shapes[1] else {}


class Frozen(torch.nn.Module):
    """What stands in the model for a frozen part of it; live, until it is told otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_input = False
        """Whether the model is given features in place of pixels."""
        self.capturing = False
        """Whether what the tower sees is wanted, and nothing after it."""
        self._home: torch.device | None = None
        """Where the weights belong that rest elsewhere."""

    @contextlib.contextmanager
    def reads_features(self, seen: bool) -> Iterator[None]:
        """Features pass for pixels meanwhile, if `seen`."""
        self.feature_input, before = seen, self.feature_input
        try:
            yield
        finally:
            self.feature_input = before

    @torch.no_grad()
    def capture(self, see: Callable[[], object]) -> torch.Tensor:
        """What the tower sees while the stock model does `see`."""
        self.load()
        self.capturing = True
        try:
            with without_hooks(self.hooked_module()):
                see()
        except CapturedFeatures as looked:
            return looked.features
        finally:
            self.capturing = False
        raise AssertionError("the model never came to its vision tower")

    def hooked_module(self) -> torch.nn.Module:
        """The part of the model that a look goes through."""
        raise NotImplementedError

    def frozen_modules(self) -> Iterable[torch.nn.Module]:
        """The modules that were taken out of the model."""
        raise NotImplementedError

    def move(self, device: torch.device | str) -> None:
        """The tower moves with the model, of which it is no part."""
        if self._home:
            self._home = torch.device(device)
            return
        for part in self.frozen_modules():
            part.to(device)

    def offload(self, file: Path) -> None:
        """Leave the weights in `file`, in the processes' common memory, until they are looked through.

        For where nearly all was seen before. All ranks of a machine map the same pages, of which those
        that are never read take no memory; a GPU holds none of them before the first look. Raises
        `OSError` where the disk is short; then all is as it was.
        """
        tensors = dict(self._tensors())
        if any(type(t) not in (torch.nn.Parameter, torch.Tensor) for t in tensors.values()):
            return  # quantised ones are more than their values
        home = self.parameter().device
        if not (found := mapped(tensors, file)):
            return
        for name, tensor in found.items():
            tensors[name].data = tensor
        self._home = home

    def load(self) -> None:
        """Bring weights that rest to where the model is."""
        home, self._home = self._home, None
        if home:
            self.move(home)

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        for number, part in enumerate(self.frozen_modules()):
            for name, tensor in itertools.chain(part.named_parameters(), part.named_buffers()):
                yield f"{number}.{name}", tensor

    def parameter(self) -> torch.nn.Parameter:
        """One of the tower's: where it is, and of what type."""
        raise NotImplementedError

    def restore(self) -> None:
        """Make the tower a part of the model again."""
        raise NotImplementedError

    def image_vector(self, features: torch.Tensor) -> torch.Tensor:
        """One example's images as a single vector (width,): the class token, or the mean without one."""
        raise NotImplementedError


class FrozenTower(Frozen):
    """Stands where the vision tower stood, and passes on what was seen; pixels go through the tower."""

    def __init__(self, base: Any, family: Family) -> None:
        super().__init__()
        # In tuples: not a part of the model. Without dropout, even after a trial that trained it.
        self._tower = (base.get_submodule(family.vision_tower).eval(),)
        self._base, self._path = (base,), family.vision_tower
        self._layers = family.layers_read(base.config)
        base.set_submodule(family.vision_tower, self)

    def forward(self, pixel_values: torch.Tensor, **options: Any) -> BaseModelOutputWithPooling:
        """The tower's output, or what stands for it: the layers that are read, and no others."""
        if self.feature_input:
            return self._output(pixel_values)
        if self.capturing:
            raise CapturedFeatures(self._read(pixel_values, options))
        self.load()
        with torch.no_grad():
            return self._tower[0](pixel_values, **options)

    def _output(self, features: torch.Tensor) -> BaseModelOutputWithPooling:
        last: Any = features[:, -1]
        layers: Any = self._layers and dict(zip(self._layers, features.unbind(1), strict=True))
        return BaseModelOutputWithPooling(last_hidden_state=last, hidden_states=layers)

    def _read(self, pixels: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        """(images, layers, tokens, width)."""
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
        # Of each image or tile, in the last layer that is read.
        tokens = features.flatten(0, -4)[:, -1].float()
        classed = any(n.endswith(CLASS_TOKENS) for n, _ in self._tower[0].named_parameters())
        return (tokens[:, 0] if classed else tokens.mean(1)).mean(0)


def freeze(base: Any, family: Family) -> Frozen:
    """Take the tower out of the model, or, where it holds the connector, its blocks."""
    from models.frozen_blocks import FrozenBlocks

    return FrozenBlocks(base, family) if family.vision_blocks else FrozenTower(base, family)
