"""A tuned model as files that plain transformers and peft load, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file

from models.lmm import LMM
from models.processors import needs_torchvision
from strategies import Tensors


def save_model(lmm: LMM, weights: Tensors, folder: Path, ordering: tuple[str, ...]) -> None:
    """Adapters in peft's format, changed weights as safetensors, and a README of how to load both."""
    from trainables.rank.engine import set_weights

    set_weights(lmm, weights)
    folder.mkdir(parents=True, exist_ok=True)
    if lmm.peft is not None:
        lmm.peft.save_pretrained(str(folder / "adapter"))
        # peft's blank form of a model card
        (folder / "adapter" / "README.md").unlink(missing_ok=True)
    files = []
    for name, part in _changed(lmm, weights).items():
        if part:
            files.append(f"{name}.safetensors")
            save_file(part, str(folder / files[-1]))
    (folder / "README.md").write_text(_readme(lmm, files, ordering))


def save_routing_keys(folder: Path, kept: Mapping[tuple[str, ...], Sequence[Tensors]]) -> None:
    """What examples are looked up by, by the tasks that each of `expert-1`, `expert-2`, ... answers for."""
    keys: Tensors = {}
    lines = []
    for which, (tasks, own) in enumerate(kept.items(), start=1):
        lines.append(f"- `expert-{which}`: {', '.join(tasks)}")
        for task, tensors in zip(tasks, own, strict=True):
            keys |= {
                f"{which}/{task}/{name}": value.contiguous() for name, value in tensors.items()
            }
    save_file(keys, str(folder / "keys.safetensors"))
    (folder / "README.md").write_text(HOW_TO_ROUTE.format(experts="\n".join(lines)))


def _changed(lmm: LMM, weights: Tensors) -> dict[str, Tensors]:
    """The base's own weights that were trained, by the file that they go into."""
    own = {name: w.contiguous() for name, w in weights.items() if "lora_" not in name}
    joining = {name: w for name, w in own.items() if name.startswith(lmm.family.connector)}
    return {
        "connector": joining,
        "language_model": {name: w for name, w in own.items() if name not in joining},
    }


def _readme(lmm: LMM, files: list[str], ordering: tuple[str, ...]) -> str:
    chat = bool(getattr(lmm.processor, "chat_template", None))
    return HOW_TO_LOAD.format(
        ordering=" > ".join(ordering),
        base=lmm.folder,
        note=VIDEOS if needs_torchvision(type(lmm.processor)) else "",
        weights=WEIGHTS.format(files=files) if files else "",
        adapter=ADAPTER if lmm.peft is not None else "",
        ask=CHAT if chat else PROMPT,
    )


HOW_TO_ROUTE = """# Experts

{experts}

Each is saved as a model of its own, with a README of how it is loaded. An example is answered by the
expert of the task whose keys in `keys.safetensors` (EXPERT/TASK/image, EXPERT/TASK/instruction) have the
largest sum of cosines to the example's image vector (the class token of the frozen vision tower's layer
that the model reads, or the mean of its tokens where it has none) and instruction vector (the mean of the
prompt's token embeddings, or the search's text encoder): `LMM.image_vector` and `models/text_encoder.py`.
"""
HOW_TO_LOAD = """# Tuned on {ordering}

Plain transformers and peft load it, in this folder{note}:

```python
from transformers import AutoModelForImageTextToText, AutoProcessor

processor = AutoProcessor.from_pretrained("{base}")
model = AutoModelForImageTextToText.from_pretrained("{base}", dtype="float32")
{weights}{adapter}```

and ask it:

```python
from PIL import Image

question, image = "what is shown?", Image.open("image.png").convert("RGB")
{ask}
tokens = model.generate(**inputs, max_new_tokens=16, do_sample=False)
print(processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```
"""
VIDEOS = " (this class's processor also reads videos, for which it needs torchvision)"
PROMPT = """inputs = processor(images=image, text=question, return_tensors="pt")"""
CHAT = """asked = [{"type": "image", "image": image}, {"type": "text", "text": question}]
inputs = processor.apply_chat_template(
    [{"role": "user", "content": asked}],
    add_generation_prompt=True,
    tokenize=True,
    return_dict=True,
    return_tensors="pt",
)"""
WEIGHTS = """
from safetensors.torch import load_file

for file in {files}:
    unknown = model.load_state_dict(load_file(file), strict=False).unexpected_keys
    assert not unknown, unknown
"""
ADAPTER = """
from peft import PeftModel

model = PeftModel.from_pretrained(model, "adapter")
"""
