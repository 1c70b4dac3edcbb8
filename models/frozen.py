"""Frozen parts of a model: each runs once an image (or example), not once an epoch.

The output of a frozen vision tower is a property of the image. The tower is taken out of the model, so
that ZeRO neither splits nor gathers it. Its cached output, the features, replaces the pixels. Features
look like a picture with a channel for each layer that is read: (layers, tokens, width). The stock code
around the tower accepts them as such.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from spaces.damage import set_aside
from spaces.files import fits_on_disk, replacing
from spaces.storage import check_storage


class CapturedFeatures(Exception):
    """Ends a forward pass once a frozen part has run; `features` is its output."""

    def __init__(self, features: torch.Tensor) -> None:
        self.features = features


@contextlib.contextmanager
def without_hooks(module: torch.nn.Module) -> Iterator[None]:
    """Remove the hooks of a module and its parts for the block.

    ZeRO-3's hooks count what runs and fail where ranks differ in it: each rank has examples of its own.
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


def map_to_file(tensors: Mapping[str, torch.Tensor], file: Path) -> dict[str, torch.Tensor]:
    """Return the tensors memory-mapped from `file`, which is written first if it is missing.

    A file that holds other tensors is set aside and written again. Raises `OSError`, and leaves nothing
    behind, where the disk is short.
    """
    if file.exists() and (mapped := _mapped(tensors, file)):
        return mapped
    set_aside(
        file, "it holds other weights than the model"
    )  # which leaves it to those that have mapped it
    size = sum(t.nbytes for t in tensors.values())
    check_storage(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    if not fits_on_disk(file.parent, size):
        raise OSError(f"{file.parent} is short of space for {size / 1e9:.1f} GB")
    # An existing file stays: another process may have mapped it already.
    with replacing(file, overwrite=False) as temporary:
        save_file({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, temporary)
    return _mapped(tensors, file)


def _mapped(tensors: Mapping[str, torch.Tensor], file: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file; {} unless they are those in memory to the last bit."""
    try:
        mapped = load_file(file)
    except (OSError, SafetensorError):
        return {}
    shapes = [{n: (t.shape, t.dtype) for n, t in side.items()} for side in (mapped, tensors)]
    same = shapes[0] == shapes[1] and all(_same_bits(mapped[n], t) for n, t in tensors.items())
    return mapped if same else {}


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    sides = (t.detach().cpu().contiguous().flatten().view(torch.uint8) for t in (one, other))
    return torch.equal(*sides)


class Frozen(torch.nn.Module):
    """Stand-in for a frozen part of the model; runs that part unless features are given to it."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_input = False
        """True while the model is given features in place of pixels."""
        self.capturing = False
        """True while only the output of this part is wanted, and nothing after it."""
        self._home: torch.device | None = None
        """Device of the model while the weights are offloaded."""

    @contextlib.contextmanager
    def reads_features(self, enabled: bool) -> Iterator[None]:
        """Take the input for features, if `enabled`, for the block."""
        self.feature_input, before = enabled, self.feature_input
        try:
            yield
        finally:
            self.feature_input = before

    @torch.no_grad()
    def capture(self, run: Callable[[], object]) -> torch.Tensor:
        """Return the output of this part when the stock model does `run`."""
        self.load()
        self.capturing = True
        try:
            with without_hooks(self.hooked_module()):
                run()
        except CapturedFeatures as captured:
            return captured.features
        finally:
            self.capturing = False
        raise AssertionError("the model never called its frozen part")

    def hooked_module(self) -> torch.nn.Module:
        """Return the module of the model that `capture` runs without hooks."""
        raise NotImplementedError

    def frozen_modules(self) -> Iterable[torch.nn.Module]:
        """Return the modules that were taken out of the model."""
        raise NotImplementedError

    def move(self, device: torch.device | str) -> None:
        """Move the weights, which the model does not hold, to the model's device."""
        if self._home:
            self._home = torch.device(device)
            return
        for module in self.frozen_modules():
            module.to(device)

    def offload(self, file: Path) -> None:
        """Map the weights to `file` until they are needed, where nearly all features are cached.

        All ranks of a machine map the same pages, of which only those that are read take memory. A GPU
        holds none of them before the first use. Raises `OSError`, with nothing changed, where the disk
        is short.
        """
        tensors = dict(self._tensors())
        if any(type(t) not in (torch.nn.Parameter, torch.Tensor) for t in tensors.values()):
            return  # quantised ones are more than their values
        home = self.parameter().device
        if not (mapped := map_to_file(tensors, file)):
            return
        for name, tensor in mapped.items():
            tensors[name].data = tensor
        self._home = home

    def load(self) -> None:
        """Bring offloaded weights to the model's device."""
        home, self._home = self._home, None
        if home:
            self.move(home)

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        for number, module in enumerate(self.frozen_modules()):
            for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
                yield f"{number}.{name}", tensor

    def parameter(self) -> torch.nn.Parameter:
        """Return one of the frozen parameters, for its device and type."""
        raise NotImplementedError

    def restore(self) -> None:
        """Make the frozen modules a part of the model again."""
        raise NotImplementedError

    def image_vector(self, features: torch.Tensor) -> torch.Tensor:
        """Return one example's images as a vector (width,): the class token, else the mean of tokens."""
        raise NotImplementedError
