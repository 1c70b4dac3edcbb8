"""Check that a processor puts as many image tokens into a prompt as its model makes image features."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from models.batching import PIXELS, Encoded
from models.family import Family
from models.location import folder_family
from spaces.errors import InputError, first_line

LARGEST = 50.0
"""Largest pixel that a processor may yield; one that was not rescaled reaches some 500."""


class ImageTokens:
    """Counter of the image features of the model in `folder`, from shapes alone: no weights are read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.family: Family = folder_family(folder)
        self.config: Any = AutoConfig.from_pretrained(folder)
        names = ("image_token_id", "image_token_index")
        self.token = next(
            (t for n in names if (t := getattr(self.config, n, None)) is not None), None
        )
        with torch.device("meta"):
            self.base: Any = AutoModelForImageTextToText.from_config(self.config)
        self._counted: dict[object, int] = {}

    def check(self, encoded: Encoded, example: str) -> None:
        """Raise `InputError` if an example's prompt has more image tokens than features, or fewer."""
        if PIXELS in encoded.prompt:
            self._check_pixels(encoded.prompt[PIXELS], example)
        if self.token is None or PIXELS not in encoded.prompt:
            return
        tokens = int((encoded.prompt["input_ids"] == self.token).sum())
        try:
            features = self.features(encoded)
        except Exception as error:  # an image of another size, a layer that is not there
            raise InputError(
                f'config.json and processor_config.json in "{self.folder}" must fit one another, and the '
                f"model cannot take the images of {example}: {first_line(error)[:300]}; copy both files "
                "from the original model"
            ) from error
        if tokens != features:
            raise InputError(
                f"a prompt must hold as many image tokens as the model sees in its images: {example} has "
                f'{tokens} and {features}; in "{self.folder}" the chat template must place the image, and '
                "patch size, image size, num_additional_image_tokens, vision_feature_select_strategy and "
                "such of processor_config.json must be those of config.json"
            )

    def _check_pixels(self, pixels: torch.Tensor, example: str) -> None:
        """Raise `InputError` for pixels that are not finite, or were not brought to about -3 to 3."""
        largest = float(pixels.abs().max()) if pixels.numel() else 0.0
        if not math.isfinite(largest) or largest > LARGEST:
            raise InputError(
                f'the processor in "{self.folder}" must bring pixels to about -3 to 3, and those of '
                f"{example} reach {largest:.4g}: see do_rescale, rescale_factor, image_mean and image_std "
                "of processor_config.json or preprocessor_config.json; copy it from the original model"
            )

    def features(self, encoded: Encoded) -> int:
        """Return how many vectors replace the image tokens for the language model."""
        columns, vision = encoded.images, self.config.vision_config
        if self.family.qformer:
            return self.config.num_query_tokens * len(columns[PIXELS])
        if self.family.vision_blocks:
            patches = int(columns["image_grid_thw"].prod(-1).sum())
            return patches // vision.spatial_merge_size**2
        if self.family.nested_tiles:
            tiles, (height, width) = columns[PIXELS].shape[1], columns[PIXELS].shape[-2:]
            patches = (height // vision.patch_size) * (width // vision.patch_size)
            return tiles * patches // self.config.scale_factor**2
        # Only floating-point columns lose their contents: sizes of images must be known.
        shapes = {n: v.to("meta") if v.is_floating_point() else v for n, v in columns.items()}
        # The meta device is slow, and most images are of one size.
        key = tuple(
            (n, v.shape, () if v.is_meta else tuple(v.flatten().tolist()))
            for n, v in shapes.items()
        )
        if key not in self._counted:
            output = self.base.get_image_features(**shapes).pooler_output
            parts = output if isinstance(output, list | tuple) else [output]
            self._counted[key] = sum(math.prod(part.shape[:-1]) for part in parts)
        return self._counted[key]
