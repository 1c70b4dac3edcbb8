"""Properties of rows made at random: nothing of an accepted row is lost, and nothing raises."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data.placeholders import token_fault, visible
from tasks.formats import pairs, swift
from tasks.formats.raw_example import RawExample, RowError
from tasks.formats.values.noted_row import NotedRow
from tasks.formats.values.tokens import check_example

QUICK = settings(max_examples=150, deadline=None, derandomize=True)
TOKENS = [
    *("<image>", "<image 1>", "<|image_pad|>", "<img>a.png</img>", "<bbox>", "<ref-object>"),
    *("<video>", "[INST]", "<|im_end|>", "</s>", "\x00", "\u200b", "<ImageHere>", "\ud800"),
]
LETTERS = string.ascii_letters + "  éß漢.?,1"
WORDS = st.text(LETTERS, min_size=1, max_size=20).filter(str.strip)
TEXTS = st.one_of(WORDS, st.lists(st.sampled_from([*TOKENS, "word "]), max_size=4).map("".join))
VALUES = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(-3, 2**60), st.floats(), TEXTS, st.just("")),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("A text label".split()), inner)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(
    "image images file_name options choices A B answer_idx label weight loss system history input "
    "context hint objects rejected tools solution answers caption video image_1 id x".split()
)


def read(module: Any, row: dict[str, Any]) -> tuple[tuple[RawExample, ...], tuple[str, ...]] | None:
    """Return a row's examples and notes; None if it is refused."""
    noted = NotedRow(row, index_from=lambda: 0)
    try:
        examples = module.examples(noted, 0)
        return examples, (*noted.notes(), *(n for e in examples for n in check_example(e)))
    except RowError as refused:
        assert refused.reason and isinstance(refused.detail, str)
        return None


def option_forms(texts: list[str]) -> dict[str, dict[str, Any]]:
    letters = string.ascii_uppercase[: len(texts)]
    return {
        "list": {"options": texts},
        "mapping": {"choices": dict(zip(letters, texts, strict=True))},
        "arc": {"choices": {"label": list(letters), "text": texts}},
        "objects": {
            "options": [{"label": a, "text": t} for a, t in zip(letters, texts, strict=True)]
        },
        "columns": dict(zip(letters, texts, strict=True)),
        "python": {"options": repr(texts)},
    }


@QUICK
@given(st.lists(WORDS, min_size=2, max_size=6), st.data())
def test_every_form_of_the_same_options_gives_the_same_prompt(texts: list[str], data: Any) -> None:
    place = data.draw(st.integers(0, len(texts) - 1))
    answers = (string.ascii_uppercase[place], place)
    prompts = set()
    for form in option_forms(texts).values():
        for answer in answers:
            found = read(pairs, {"question": "Which?", "answer": answer} | form)
            if found is None:
                prompts.add(None)
                continue
            ((example,), notes) = found
            assert set(notes) <= (
                {"options of equal text"} if len(set(texts)) < len(texts) else set()
            )
            assert all(text.strip() in example.prompt for text in texts)
            assert example.answer in (answers[0], texts[place])
            prompts.add(" ".join(example.prompt.split()))
    assert len(prompts - {None}) <= 1


@QUICK
@given(WORDS, TEXTS, st.lists(TEXTS, max_size=3), st.dictionaries(KEYS, VALUES, max_size=4))
def test_all_texts_of_an_accepted_question_reach_the_example_and_keys_are_said(
    prompt: str, answer: str, options: list[str], more: dict[str, Any]
) -> None:
    row = more | {"question": prompt, "answer": answer}
    if options:
        row["options"] = options
    found = read(pairs, row)
    if found is None:
        return
    ((example,), notes) = found
    words = "\n".join(example.texts())
    assert prompt in example.prompt
    assert not any(token_fault(text) for text in example.texts() if not example.boxes)
    for name in ("context", "hint", "input", "system"):
        value = row.get(name)
        if isinstance(value, str) and visible(value) and value not in ("[]", "{}"):
            assert "<" in value or value in words
    for option in options:
        assert "<" in option or option.split() == [] or " ".join(option.split()[-1:]) in words
    for name in ("x", "solution", "caption"):
        value = row.get(name)
        if isinstance(value, str) and visible(value) and value not in ("[]", "{}"):
            assert name in notes


ANY_KEYS = st.sampled_from(
    "image images file_name options choices A B answer_idx label weight loss loss_scale train mask system "
    "history input context hint objects rejected tools solution answers caption video image_1 x rationale "
    "explanation text query response output instruction category split type task lang source url width "
    "height image_id multiple_choice_answer answer_type".split()
)
PLAIN = st.one_of(WORDS, st.integers(0, 5), st.lists(WORDS, min_size=1, max_size=3))


@settings(QUICK, max_examples=500)
@given(WORDS, WORDS, st.dictionaries(ANY_KEYS, PLAIN, max_size=3))
def test_every_value_of_an_accepted_question_is_in_the_example_or_its_key_is_said(
    prompt: str, answer: str, more: dict[str, Any]
) -> None:
    found = read(pairs, more | {"question": prompt, "answer": answer})
    if found is None:
        return
    ((example,), notes) = found
    words = "\n".join((*example.texts(), example.id, repr(example.images)))
    for name, value in more.items():
        counted = name in ("weight", "loss", "loss_scale", "train") and str(value) == "1"
        said = counted or any(name in note for note in notes)
        for one in value if isinstance(value, list) else [value]:
            assert said or str(one).strip() in words, name


ROLES = st.sampled_from(
    ["user", "assistant", "system", "User", "GPT", "developer", "tool", "x", None]
)
PARTS = st.lists(
    st.one_of(
        TEXTS.map(lambda text: {"type": "text", "text": text}),
        st.sampled_from([{"type": "image"}, {"type": "image", "image": "a.png"}, {"text": "b"}]),
        VALUES,
    ),
    max_size=3,
)
TURNS = st.fixed_dictionaries(
    {"role": ROLES, "content": st.one_of(TEXTS, WORDS, PARTS)},
    optional={"weight": st.sampled_from([0, 1, None, 0.5]), "loss": st.booleans(), "name": WORDS},
)
ALTERNATING = st.lists(WORDS, min_size=2, max_size=6).map(
    lambda texts: [
        {"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)
    ]
)


@QUICK
@given(
    st.one_of(st.lists(TURNS, max_size=5), ALTERNATING), st.dictionaries(KEYS, VALUES, max_size=2)
)
def test_all_turns_of_an_accepted_conversation_reach_its_examples(
    turns: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    found = read(swift, more | {"messages": turns})
    if found is None:
        return
    examples, notes = found
    words = "\n".join(text for example in examples for text in example.texts())
    left_out = any(" " in note and note.endswith(("question", "answer")) for note in notes)
    for number, turn in enumerate(turns):
        text = turn["content"]
        last = number == len(turns) - 1  # an answer of no weight at the end is not trained
        unused = turn.get("weight") == 0 or turn.get("loss") is False
        if isinstance(text, str) and "<" not in text and visible(text) and not left_out:
            follows_unused = unused or any(
                t.get("weight") == 0 or t.get("loss") is False for t in turns[number + 1 :]
            )
            assert text in words or last or follows_unused
    trained = [example.answer for example in examples]
    assert len(trained) >= 1


@QUICK
@given(VALUES, VALUES)
def test_any_value_as_prompt_or_answer_is_text_or_refused(prompt: Any, answer: Any) -> None:
    found = read(pairs, {"question": prompt, "answer": answer})
    for example in found[0] if found else ():
        assert all(visible(text) for text in (example.prompt, example.answer, *example.answers))
        assert not any(text.endswith(".0") for text in example.answers) or isinstance(
            answer, (str, list, dict)
        )
