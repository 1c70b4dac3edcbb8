"""What each family can do, as the tests of tests/test_families.py found: `pytest --families FILE`."""

from __future__ import annotations

import re
from pathlib import Path

CAPABILITIES = {
    "test_loads": "stock class loads",
    "test_image_tokens_are_counted_without_weights": "image tokens checked before any start",
    "test_loss_is_the_stock_models": "loss = stock loss, padded batch",
    "test_generates_in_batches": "generates, batch = alone",
    "test_cached_features_equal_live_ones": "cached features = live tower",
    "test_checkpointing_changes_no_gradient": "gradient checkpointing",
    "test_trains[connector]": "trains connector",
    "test_trains[projection]": "trains projection",
    "test_trains[qformer]": "trains Q-Former",
    "test_trains[lm_lora]": "trains LM-LoRA",
    "test_trains[vision_lora]": "trains vision-LoRA",
    "test_trains[lm]": "trains full LM",
    "test_strategies[der+a_gem+mas+lwf]": "DER++, A-GEM, MAS and LwF",
    "test_strategies[replay+tir]": "replay and TIR",
    "test_strategies[eproj]": "EProj",
    "test_two_ranks_with_zero_and_checkpointing_train_as_one[2]": "ZeRO 2 and checkpointing, two "
    "ranks = one",
    "test_two_ranks_with_zero_and_checkpointing_train_as_one[3]": "ZeRO 3 and checkpointing, two "
    "ranks = one",
    "test_saved_loads_in_plain_transformers_and_peft[connector+lm_lora]": "saved connector + LoRA loads",
    "test_saved_loads_in_plain_transformers_and_peft[connector+lm+vision_lora]": "saved LM + "
    "vision-LoRA loads",
}
"""Tests by their name and parameter, and what they say of a family."""
SIGNS = {"passed": "yes", "skipped": "-", "failed": "**no**"}
HEAD = """# Families and what they can do

Filled by the test run, `pytest -m "" tests/test_families.py --families docs/families.md`: each family's
stock class with a tiny random configuration, its own processor, images of several sizes, text alone and
two images where the family takes them. "-": the family has no such part.

"""


class Outcomes:
    """Outcomes by (family, capability)."""

    def __init__(self, families: list[str]) -> None:
        self.families = families
        self.found: dict[tuple[str, str], str] = {}

    def note(self, test: str, outcome: str) -> None:
        """Take down what became of the test of that node id; what is no capability is left out."""
        name, _, parameters = test.rpartition("::")[2].partition("[")
        family = next((f for f in self.families if re.match(rf"{f}(-|])", parameters)), None)
        rest = parameters.removeprefix(family or "").strip("-]")
        capability = f"{name}[{rest}]" if rest else name
        if family and capability in CAPABILITIES:
            self.found[family, capability] = outcome

    def write(self, path: Path) -> None:
        """The table, a row for each capability."""
        lines = [
            "| | " + " | ".join(self.families) + " |",
            "| --- " * (len(self.families) + 1) + "|",
        ]
        for capability, says in CAPABILITIES.items():
            signs = [SIGNS.get(self.found.get((f, capability), ""), "?") for f in self.families]
            lines.append(f"| {says} | " + " | ".join(signs) + " |")
        path.write_text(HEAD + "\n".join(lines) + "\n")
