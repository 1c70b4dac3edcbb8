"""A tuned model as files that plain transformers and peft load, with a README of how to load them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file

from models.lmm import LMM
from models.processors import needs_torchvision
from spaces.files import give_usual_mode, replacing, write_atomically
from strategies import Tensors


def save_model(lmm: LMM, weights: Tensors, folder: Path, ordering: tuple[str, ...]) -> None:
    """Save adapters in peft's format, changed weights as safetensors, and a README."""
    from trainables.rank.engine import set_weights

    set_weights(lmm, weights)
    folder.mkdir(parents=True, exist_ok=True)
    if lmm.peft is not None:
        lmm.peft.save_pretrained(str(folder / "adapter"))
        for file in (folder / "adapter").glob("*.safetensors"):
            give_usual_mode(file)
        # peft's empty template of a model card
        (folder / "adapter" / "README.md").unlink(missing_ok=True)
    files = []
    for name, changed in _changed_weights(lmm, weights).items():
        if changed:
            files.append(f"{name}.safetensors")
            with replacing(folder / files[-1]) as temporary:
                save_file(changed, temporary)
    write_atomically(folder / "README.md", _readme(lmm, files, ordering))


def save_routing_keys(folder: Path, kept: Mapping[tuple[str, ...], Sequence[Tensors]]) -> None:
    """Save the keys by which an example finds its expert.

    `kept`: for each of `expert-1`, `expert-2`, ... its tasks, and the keys of each of them.
    """
    keys: Tensors = {}
    lines = []
    for i, (tasks, keys_by_task) in enumerate(kept.items(), start=1):
        lines.append(f"- `expert-{i}`: {', '.join(tasks)}")
        for task, tensors in zip(tasks, keys_by_task, strict=True):
            keys |= {f"{i}/{task}/{name}": value.contiguous() for name, value in tensors.items()}
    with replacing(folder / "keys.safetensors") as temporary:
        save_file(keys, temporary)
    write_atomically(folder / "README.md", HOW_TO_ROUTE.format(experts="\n".join(lines)))


def _changed_weights(lmm: LMM, weights: Tensors) -> dict[str, Tensors]:
    """Return the trained weights of the base model, by the file that they go into."""
    changed = {name: w.contiguous() for name, w in weights.items() if "lora_" not in name}
    connector = {name: w for name, w in changed.items() if name.startswith(lmm.family.connector)}
    return {
        "connector": connector,
        "language_model": {name: w for name, w in changed.items() if name not in connector},
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

Each expert is a saved model of its own, with a README of how to load it. The expert of the nearest task
answers an example:

1. Compute the example's image vector: the class token of the frozen vision tower's layer that the model
   uses, or the mean of that layer's tokens if it has no class token (`LMM.image_vector`).
2. Compute its instruction vector: the mean of the prompt's token embeddings, or the output of the
   search's text encoder (`models/text_encoder.py`).
3. Add the cosines of both vectors to the keys of each task: EXPERT/TASK/image and
   EXPERT/TASK/instruction in `keys.safetensors`. The task with the largest sum is the nearest.
"""
HOW_TO_LOAD = """# Tuned on {ordering}

Load it with plain transformers and peft, from this folder{note}:

```python
from transformers import AutoModelForImageTextToText, AutoProcessor

processor = AutoProcessor.from_pretrained("{base}")
model = AutoModelForImageTextToText.from_pretrained("{base}", dtype="float32")
{weights}{adapter}```

Then ask a question:

```python
from PIL import Image, ImageOps

question, image = "what is shown?", ImageOps.exif_transpose(Image.open("image.png")).convert("RGB")
{ask}
tokens = model.generate(**inputs, max_new_tokens=16, do_sample=False)
print(processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```
"""
VIDEOS = " (also install torchvision: this processor reads videos, too)"
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
