"""The README beside trained adapters, followed to the letter in another process."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from models.batching import Encoded, collate
from models.lmm import LMM

ASK = """
import sys
import torch

torch.set_num_threads(1)
inputs = torch.load(sys.argv[1])
with torch.no_grad():
    logits = model.eval()(**inputs).logits
    tokens = model.generate(**inputs, max_new_tokens=6, do_sample=False)
torch.save({"logits": logits, "tokens": tokens, "vocabulary": len(processor.tokenizer)}, sys.argv[2])
"""


def followed(folder: Path, inputs: dict[str, torch.Tensor], work: Path) -> dict[str, Any]:
    """What the model says that the folder's README loads, once it has answered as it says there."""
    load, ask = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    Image.new("RGB", (20, 20), "red").save(folder / "image.png")
    torch.save(inputs, work / "inputs.pt")
    command = [sys.executable, "-c", load + ask + ASK, work / "inputs.pt", work / "outputs.pt"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "missing adapter keys" not in done.stderr
    return torch.load(work / "outputs.pt")


def assert_says_the_same(folder: Path, lmm: LMM, examples: Sequence[Encoded], work: Path) -> None:
    """The folder, loaded as its README says, gives the logits and the answers of `lmm`."""
    inputs, _ = collate(lmm.processor, examples, with_answers=False)
    found = followed(folder, inputs, work)
    with torch.no_grad():
        logits = lmm.model.eval()(**inputs).logits
    assert torch.allclose(found["logits"], logits, atol=1e-4)
    ours = lmm.model.generate(**inputs, max_new_tokens=6, do_sample=False)
    assert torch.equal(found["tokens"], ours)
    with torch.no_grad():
        plain = LMM(lmm.folder).model(**inputs).logits
    assert not torch.allclose(plain, logits, atol=1e-2)
