"""Inspections as one HTML page that needs nothing beside it: the report, and a few examples rendered."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image

from tasks.data.images import READ
from tasks.formats import Record
from tasks.user_data.inspection import Inspection

THUMBNAIL = 240  # pixels
LONGEST = 1500  # characters of a text

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Data: {title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
pre {{ background: #f4f4f4; padding: 1rem; white-space: pre-wrap; overflow-wrap: anywhere; }}
article {{ border: 1px solid #ccc; border-radius: 6px; padding: .5rem 1rem; margin: 1rem 0; }}
img {{ max-height: 240px; margin: .3rem .3rem 0 0; }}
p {{ white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0; }}
b {{ color: #555; font-weight: 600; }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""


def page(title: str, inspections: Sequence[Inspection], rejected: Sequence[str]) -> str:
    """The page. Whatever comes from the data is escaped."""
    parts = []
    for inspection in inspections:
        parts.append(f"<h2>{_text(inspection.found.source.path.name)}</h2>")
        parts.append(f"<pre>{_text(chr(10).join(inspection.lines()))}</pre>")
        parts += [_example(record, images) for record, images in inspection.samples]
    if rejected:
        parts.append(f"<h2>Rejected</h2><pre>{_text(chr(10).join(rejected))}</pre>")
    return PAGE.format(title=_text(title), body="\n".join(parts))


def _example(record: Record, images: Sequence[bytes]) -> str:
    said = [("system", record.system)] if record.system else []
    for prompt, answer in record.history:
        said += [("prompt", prompt), ("answer", answer)]
    others = " | ".join(record.answers) if len(record.answers) > 1 else ""
    said += [("prompt", record.prompt), ("answer", record.answer), ("answers", others)]
    texts = "".join(f"<p><b>{who}</b> {_text(text)}</p>" for who, text in said if text)
    pictures = "".join(f'<img alt="image" src="{_thumbnail(image)}">' for image in images)
    return f"<article><p><b>id</b> {_text(record.id)}</p>{pictures}{texts}</article>"


def _text(text: str) -> str:
    cut = text if len(text) <= 4 * LONGEST else text[: 4 * LONGEST] + " ..."
    return html.escape(cut)


def _thumbnail(image: bytes) -> str:
    """A small PNG of a good image as a data: URI."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(image), formats=READ) as picture:
        small = picture.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        small.save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
