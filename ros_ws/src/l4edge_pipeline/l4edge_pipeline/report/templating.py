"""The template engine behind all pages. Whatever comes from files is escaped by it."""

from pathlib import Path
from typing import Any

from l4edge_perception.errors import InputError
from l4edge_pipeline.report.charts import Html

TEMPLATES = Path(__file__).resolve().parent / "templates"


def rendered(template: str, **values: Any) -> str:
    """A template of :data:`TEMPLATES` as HTML text, with the style that all pages share.

    Args:
        template: name of its file.
        values: what it is given; a value that it asks for and does not get is an error.

    Raises:
        InputError: the template engine is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise InputError("pages need jinja2: pip install 'l4edge[report]'") from error
    engine = Environment(loader=FileSystemLoader(str(TEMPLATES)), autoescape=True, undefined=StrictUndefined)
    style = Html((TEMPLATES / "page.css").read_text(encoding="utf-8"))
    return engine.get_template(template).render(style=style, **values)
