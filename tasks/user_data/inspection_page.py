"""Inspections as one HTML page that needs nothing beside it: the report, and a few examples."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from jinja2 import Environment

from tasks.data.pictures import picture_rgb
from tasks.user_data.inspection import Inspection

THUMBNAIL = 240  # pixels
LONGEST = 6000  # characters of a text

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Data: {{ title }}</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
pre { background: #f4f4f4; padding: 1rem; white-space: pre-wrap; overflow-wrap: anywhere; }
article { border: 1px solid #ccc; border-radius: 6px; padding: .5rem 1rem; margin: 1rem 0; }
img { max-height: 240px; margin: .3rem .3rem 0 0; }
p { white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0; }
b { color: #555; font-weight: 600; }
</style></head><body><h1>{{ title }}</h1>
{%- macro line(name, text) %}{% if text %}<p><b>{{ name }}</b> {{ text | cut }}</p>{% endif %}
{%- endmacro %}
{% for inspection in inspections %}
<h2>{{ inspection.path.name }}</h2>
<pre>{{ inspection.lines() | join("\n") | cut }}</pre>
{% for example, images in inspection.samples %}
<article>{{ line("id", example.id) }}
{%- for image in images %}<img alt="image" src="{{ image | thumbnail }}">{% endfor %}
{{- line("system", example.system) }}
{%- for prompt, answer in example.history %}{{ line("prompt", prompt) }}{{ line("answer", answer) }}
{%- endfor %}
{{- line("prompt", example.prompt) }}{{ line("answer", example.answer) }}
{%- if example.answers | length > 1 %}{{ line("answers", example.answers | join(" | ")) }}{% endif -%}
</article>
{% endfor %}
{% endfor %}
{%- if rejected %}<h2>Rejected</h2><pre>{{ rejected | join("\n") | cut }}</pre>{% endif %}
</body></html>
"""


def render_page(title: str, inspections: Sequence[Inspection], rejected: Sequence[str]) -> str:
    """Render the page; all that comes from the data is escaped."""
    environment = Environment(autoescape=True)
    environment.filters.update(cut=_cut, thumbnail=_thumbnail)
    page = environment.from_string(PAGE)
    return page.render(title=title, inspections=inspections, rejected=rejected)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + " ..."


def _thumbnail(image: bytes) -> str:
    """Return a small PNG of a good image as a data: URI."""
    out = io.BytesIO()
    small = picture_rgb(image)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    small.save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
