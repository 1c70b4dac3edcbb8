"""A frozen Q-Former: it runs once an example, as only what comes after it is trained.

Its output, the queries, is a property of the example and far smaller than the features: (queries, width).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from models.frozen import CapturedFeatures, Frozen


class FrozenQFormer(Frozen):
    """Stand-in for the Q-Former; cached queries come by way of the tower's stand-in.

    It runs without dropout, like the frozen tower.
    """

    def __init__(self, base: Any) -> None:
        super().__init__()
        # In tuples: not a part of the model, so that ZeRO neither splits nor gathers it.
        self._base, self._qformer = (base,), (base.qformer.eval(),)
        self._queries = (base.query_tokens,)
        base.qformer = self
        del base.query_tokens
        base.query_tokens = self._queries[0].detach()

    def forward(self, **inputs: Any) -> Any:
        """Return the Q-Former's output; queries are passed on in the stock output class."""
        if self.feature_input:
            return BaseModelOutputWithPooling(last_hidden_state=inputs["encoder_hidden_states"])
        with torch.no_grad():
            output = self._qformer[0](**inputs)
        if self.capturing:
            raise CapturedFeatures(output[0][:, : inputs["query_embeds"].shape[1]])
        return output

    def hooked_module(self) -> torch.nn.Module:
        return self

    def frozen_modules(self) -> Iterable[torch.nn.Module]:
        return self._qformer

    def move(self, device: torch.device | str) -> None:
        super().move(device)
        base, queries = self._base[0], self._queries[0]
        queries.data = queries.data.to(device)
        base.query_tokens = queries.detach()

    def parameter(self) -> torch.nn.Parameter:
        return next(self._qformer[0].parameters())

    def restore(self) -> None:
        base = self._base[0]
        base.qformer = self._qformer[0]
        del base.query_tokens
        base.query_tokens = self._queries[0]
