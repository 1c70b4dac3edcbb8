"""Files and folders as users have them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.faults.case import DRY_RUN, Case, png, rows, text, write_benchmark, write_pictures

SPLITS = ("train", "validation", "test")
ROW = '{"image": "0.png", "question": "What?", "answer": "square"}'
OTHER = '{"image": "1.png", "question": "What?", "answer": "square"}'


def converted(*places: str):
    """Return a writer of the hub's converted Parquet files, and of a benchmark over them."""

    def write(folder: Path) -> None:
        for number, place in enumerate(places):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            picture = {"bytes": png(f"rgb({40 * number},90,10)"), "path": None}
            columns = {"image": [picture] * 8, "question": [f"{place} {i}?" for i in range(8)]}
            columns["answer"] = ["red", "blue"] * 4
            pq.write_table(pa.table(columns), folder / place)
        (folder / "tasks.yaml").write_text(
            "name: x\ntasks:\n  t: {path: ., metric: exact_match, max_new_tokens: 4}\n"
            "  u: {path: ., metric: rouge_l, max_new_tokens: 4}\n"
        )

    return write


def upper_suffix(folder: Path) -> None:
    write_pictures(folder, 2)
    (folder / "train.JSONL").write_text(ROW + "\n")


def quoted(folder: Path) -> None:
    write_pictures(folder / "my pics", 1)
    place = (folder / "my pics" / "0.png").as_uri()
    names = ("my%20pics/0.png", "my pics/0.png", place)
    rows(*({"image": n, "question": "What?", "answer": "red"} for n in names), pictures=0)(folder)


def windows(folder: Path) -> None:
    write_pictures(folder / "img", 3)
    names = ("img\\0.png", ".\\img\\1.png", "C:\\data\\img\\2.png")
    rows(*({"image": n, "question": "What?", "answer": "red"} for n in names), pictures=0)(folder)


def closed_but_not(folder: Path) -> None:
    write_benchmark(
        folder, lambda split, i: {"answer": "green"} if split == "test" else {}, closed=True
    )


def train_is_test(folder: Path) -> None:
    write_benchmark(folder, lambda split, i: {"image": f"{i % 4}.png", "question": "What colour?"})


def strip(folder: Path) -> None:
    """Write a row of few words whose picture a processor of Qwen2.5-VL refuses."""
    import families

    def change(split: str, i: int) -> dict[str, str]:
        return {"image": "strip.png", "question": "Hm?"} if (split, i) == ("train", 5) else {}

    write_benchmark(folder, change)
    (folder / "colour" / "strip.png").write_bytes(png(size=(2000, 5)))
    families.write_model("qwen2_5_vl", folder / "model")


CASES = [
    Case("jsonl_trailing_commas", text("train.jsonl", f"{ROW},\n{OTHER},\n"), 0, ("2 accepted",)),
    Case(
        "json_comments",
        text("train.json", f"// made by hand\n[{ROW}]\n"),
        0,
        ("1 accepted",),
        data="train.json",
    ),
    Case(
        "json_pretty_stream",
        text("train.json", "".join(r.replace(", ", ",\n ") + "\n" for r in (ROW, OTHER))),
        0,
        ("2 accepted",),
        data="train.json",
    ),
    Case(
        "json_trailing_comma",
        text("train.json", f"[\n{ROW},\n{OTHER},\n]\n"),
        0,
        ("2 accepted",),
        data="train.json",
    ),
    Case(
        "json_object_by_id",
        text("train.json", f'{{"0001": {ROW}, "0002": {OTHER}}}'),
        0,
        ("2 accepted",),
        data="train.json",
    ),
    Case(
        "json_object_of_splits",
        text("train.json", f'{{"train": [{ROW}], "test": [{OTHER}]}}'),
        0,
        ("test",),
        data="train.json",
    ),
    Case(
        "hf_converted_flat",
        converted(*(f"{s}/000{i}.parquet" for s in SPLITS for i in (0, 1))),
        0,
        (r"stages",),
        command=DRY_RUN,
    ),
    Case(
        "hf_converted_names",
        converted(*(f"default/{s}/000{i}.parquet" for s in SPLITS for i in (0, 1))),
        0,
        (r"stages",),
        command=DRY_RUN,
    ),
    Case("upper_suffix", upper_suffix, 0, ("1 accepted",), data="."),
    Case("file_uri_quoted", quoted, 0, ("3 accepted",)),
    Case("windows_paths", windows, 1, ("2 accepted, 1 rejected", "/")),
    Case("closed_but_not", closed_but_not, 0, ("closed, but 8 of 8 answers",), command=DRY_RUN),
    Case(
        "train_is_test",
        train_is_test,
        0,
        ("distinct examples of test are in train",),
        command=DRY_RUN,
    ),
    Case(
        "processor_fault_in_short_row",
        strip,
        2,
        ("row 5", "aspect ratio"),
        command=DRY_RUN,
        model="model",
    ),
]
