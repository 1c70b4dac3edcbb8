"""Real pretrained weights through the project's own loop: a task learnt, then kept by replay.

The project's other tests know tiny models alone, whose language model understands no word and whose
tower was trained for the very pictures. `make weights` runs these: some ten minutes of one core.
"""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import smol_llava
import torch
import yaml
from PIL import Image
from toy import Toy
from transformers import AutoModelForImageTextToText, AutoProcessor

from models.batching import encode
from models.lmm import LMM
from models.location import folder_family, model_folder
from tasks import SPLITS, Example, load_benchmark
from trainables.config import TrialConfig
from trainables.lanes.in_process import InProcessRunner
from trainables.trial import PanelTrial

pytestmark = pytest.mark.weights

MINI = Path(__file__).parents[2] / "tasks" / "mini"
SIZES = {"animal": 320, "textile": 128}
"""Training examples of the tasks, in their order; textile, a question of yes or no, needs fewer."""
HELD_OUT = 60
ORDER = tuple(SIZES)
TRAINING = {"epochs": 4, "batch_size": 16, "learning_rate": 1e-3, "precision": "bf16"}
STRATEGIES: dict[str, dict[str, Any]] = {"finetune": {}, "replay": {"ratio": 0.25}}
CAPITAL = "What is the capital of Germany?"


@pytest.fixture(scope="module")
def folder() -> Path:
    """The model; the first time it is fetched and put together."""
    return smol_llava.folder()


@pytest.fixture(scope="module")
def toy(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """The model with fewer examples of two embedded tasks; not to be changed."""
    root = tmp_path_factory.mktemp("weights") / "benchmark"
    kind = {"metric": "exact_match", "max_new_tokens": 6, "closed": True}
    for task in ORDER:
        (root / task).mkdir(parents=True)
        for split in SPLITS:
            size = SIZES[task] if split == "train" else HELD_OUT
            rows = pq.read_table(MINI / task / f"{split}.parquet").slice(0, size)
            pq.write_table(rows, root / task / f"{split}.parquet")
    data = {"name": "real", "order": list(ORDER), "tasks": {task: kind for task in ORDER}}
    (root / "benchmark.yaml").write_text(yaml.safe_dump(data))
    return Toy(root, folder)


@pytest.fixture(scope="module")
def walks(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, PanelTrial]:
    """Both strategies at the end of the two tasks; they share the stage of the first one."""
    store = tmp_path_factory.mktemp("store")
    runner, found = InProcessRunner(toy.worker_spec(store)), {}
    for name, knobs in STRATEGIES.items():
        strategy = {"name": name, **knobs}
        chosen = {"strategy": strategy, "training": TRAINING, "adapter": {"rank": 8}}
        walk = toy.walk(TrialConfig.from_dict(chosen), store, ORDER, runner=runner)
        while not walk.finished:
            walk.step()
            print(told(name, walk), flush=True)
        found[name] = walk
    return found


def told(name: str, walk: PanelTrial) -> str:
    """The scores after a walk's last stage, and what making it cost."""
    scores = walk.scores[walk.paths[walk.completed - 1]]
    cells = ", ".join(f"{task} {score:.2f}" for task, score in scores.items())
    seconds = sum(walk.stages[-1].seconds.values())
    return f"{name:8s} after {ORDER[walk.completed - 1]:8s} {cells}  ({seconds:.0f} s)"


def commonest(toy: Toy, task: str) -> float:
    """The score of who always gives the validation split's commonest answer."""
    examples = load_benchmark(toy.benchmark).tasks[task].examples("validation")
    (_, count), *_ = Counter(example.answer for example in examples).most_common(1)
    return count / len(examples)


# What is in the folder ---------------------------------------------------------------------------


def test_the_folder_is_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smol_llava, "build", lambda *_: pytest.fail("it is made again"))
    assert smol_llava.folder() == folder


def test_citune_and_stock_transformers_take_it_for_a_llava(folder: Path) -> None:
    assert folder_family(model_folder(folder)).name == "LLaVA"
    model: Any = AutoModelForImageTextToText.from_pretrained(folder)
    processor: Any = AutoProcessor.from_pretrained(folder)
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    assert model.dtype == torch.bfloat16
    shown = processor.image_processor(smol_llava.pictures(1))["pixel_values"][0]
    assert tuple(shown.shape) == (3, smol_llava.IMAGE_SIZE, smol_llava.IMAGE_SIZE)
    asked = [{"type": "image"}, {"type": "text", "text": "What is it?"}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": asked}], add_generation_prompt=True
    )
    inputs = processor(images=smol_llava.pictures(1), text=prompt, return_tensors="pt")
    assert (inputs["input_ids"] == model.config.image_token_id).sum() == smol_llava.VISUAL_TOKENS
    inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
    said = model.generate(**inputs, max_new_tokens=8)[0, inputs["input_ids"].shape[1] :]
    assert processor.decode(said, skip_special_tokens=True).strip()


def test_a_text_is_put_as_the_language_model_was_taught(folder: Path) -> None:
    processor = LMM(folder).processor
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    turns = [f"system\n{system}", f"user\n{CAPITAL}", "assistant\n"]
    ids = encode(processor, Example("one", (), CAPITAL, "Berlin", ("Berlin",))).prompt["input_ids"]
    assert processor.tokenizer.decode(ids) == "<|im_end|>\n".join("<|im_start|>" + t for t in turns)


def test_it_answers_a_question_without_an_image(folder: Path) -> None:
    lmm = LMM(folder)
    example = Example("one", (), CAPITAL, "Berlin", ("Berlin",))
    (answer,) = lmm.answers([encode(lmm.processor, example)], max_new_tokens=12)
    assert "Berlin" in answer


def test_its_vision_tower_tells_animals_apart_untrained(toy: Toy) -> None:
    task = load_benchmark(toy.benchmark).tasks["animal"]
    model: Any = AutoModelForImageTextToText.from_pretrained(toy.model, dtype=torch.float32)
    processor: Any = AutoProcessor.from_pretrained(toy.model)

    def seen(split: str) -> torch.Tensor:
        """What stands at the class token, standardised: (examples, width)."""
        shown = [Image.open(io.BytesIO(e.images[0])).convert("RGB") for e in task.examples(split)]
        pixels = processor.image_processor(shown, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            features = model.model.vision_tower(pixels).last_hidden_state[:, 0]
        return (features - features.mean(0)) / features.std(0)

    nearest = torch.cdist(seen("validation"), seen("train")).argmin(1).tolist()
    names = [example.answer for example in task.examples("train")]
    right = [
        names[i] == e.answer for i, e in zip(nearest, task.examples("validation"), strict=True)
    ]
    assert sum(right) / len(right) > commonest(toy, "animal") + 0.3


# What it learns ----------------------------------------------------------------------------------


def test_a_real_task_is_learnt_far_above_the_commonest_answer(
    toy: Toy, walks: dict[str, PanelTrial]
) -> None:
    matrix = walks["finetune"].matrices()[0]
    assert matrix.row(0)["animal"] < commonest(toy, "animal") + 0.1
    assert matrix.row(1)["animal"] > commonest(toy, "animal") + 0.2


def test_replay_keeps_the_first_of_two_tasks_where_finetune_forgets_it(
    walks: dict[str, PanelTrial],
) -> None:
    finetune, replay = (walks[name].matrices()[0] for name in STRATEGIES)
    assert finetune.row(1)["animal"] == replay.row(1)["animal"]  # the same stage
    assert finetune.forgetting() > 0.2
    assert replay.forgetting() < finetune.forgetting() - 0.1
    assert replay.final_average() > finetune.final_average() + 0.1
