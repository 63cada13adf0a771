"""The templates of the pages: jinja2, which escapes everything that is not marked as markup."""

from __future__ import annotations

import os
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hmu.evaluation.results import Row
from hmu.report.numbers import model_look, model_name, set_name, typeset, value_text
from hmu.report.table import Cell


@cache
def environment() -> Environment:
    """Where templates are found, and what they may call."""
    templates = Environment(
        loader=PackageLoader("hmu.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"typeset": typeset, "model_name": model_name, "model_look": model_look, "set_name": set_name}
    templates.filters |= {"words": lambda text: str(text).replace("_", " "), "address": address}
    templates.filters |= {"whole": whole, "hint": hint, "span": span}
    templates.globals["inline"] = inline
    return templates


def render(template: str, **values: Any) -> str:
    """A template with its values."""
    return environment().get_template(template).render(**values)


def whole(row: Row) -> str:
    """A value with whole percents."""
    return value_text(row.value, row.kind, share_digits=0)


def hint(row: Row) -> str:
    """What a value is, and its interval."""
    return f"{row.title}: {Cell.of(row).interval} (95 %)"


def span(row: Row) -> tuple[float, float]:
    """The interval of a share, within 0 … 1 and around its value; no width where it is not known."""
    low, high = (row.value if edge is None else edge for edge in (row.low, row.high))
    return max(0.0, min(low, row.value)), min(1.0, max(high, row.value))


@cache
def inline(file: str) -> Markup:
    """A file's text, which must not be able to end the element that holds it."""
    text = resources.files("hmu.report.page").joinpath(*file.split("/")).read_text(encoding="utf-8")
    if re.search(r"</(script|style)|<!--", text, re.IGNORECASE):
        raise ValueError(f"{file} cannot be put into a page: it holds </script, </style or <!--")
    return Markup(text)


def address(target: Path, folder: Path) -> str:
    """A link from a page in ``folder``, with forward slashes and escaped; absolute across drives."""
    try:
        relative = Path(os.path.relpath(target.resolve(), folder.resolve()))
    except ValueError:  # Windows: another drive
        return target.resolve().as_uri()
    return quote(relative.as_posix())
