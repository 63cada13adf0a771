"""Puts the page together: numbers as HTML that needs no script, motions and viewer behind them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from hmu.motion.stick import Stick
from hmu.report.page import board, charts
from hmu.report.page.instead import instead
from hmu.report.page.markup import Markup, el, render
from hmu.report.page.motions import Take, pack
from hmu.report.page.numbers import TAUGHT, THIN, Measured, Numbers, kind, model_name, set_name
from hmu.report.page.tables import circumstances, tables

#: scripts in the order in which they need each other: the name they are imported by, and the file
SCRIPTS = {
    "./three.core.min.js": "vendor/three.core.min.js",
    "three": "vendor/three.module.min.js",
    "./controls.js": "vendor/OrbitControls.js",
    "./motions.js": "assets/motions.js",
    "./body.js": "assets/body.js",
    "./stage.js": "assets/stage.js",
    "./picker.js": "assets/picker.js",
    "./viewer.js": "assets/viewer.js",
}
_HIDDEN = ("title", "real_clips")
_SLOT = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class Evaluated:
    """What a page tells.

    Attributes:
        title: of the run; headline: what happened, in words (a semicolon ends its first clause).
        rows: of ``metrics.json``; concept: what was unlearned.
        context: the circumstances, as ``metrics.json`` has them.
        titles: headings of the prompt sets, in order.
        scoreboard: ``forget``, ``keep`` and ``hold`` in 0 … 1 where they can be told; other keys are not shown.
        notes: sentences below the tables: what signs mean, what to beware of.
        takes: motions to look at; stick: how their joints are joined (needed where there are takes).
        instead: what became of the concept's motions (:func:`hmu.report.instead.instead`); empty = not told.
    """

    title: str
    headline: str
    rows: Sequence[Measured]
    concept: str = "the concept"
    context: Mapping[str, Any] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    scoreboard: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    takes: Sequence[Take] = ()
    stick: Stick | None = None
    instead: Mapping[str, Any] = field(default_factory=dict)


def page(found: Evaluated) -> str:
    """The whole page: one HTML document that asks for nothing else.

    Raises:
        DataError: a motion has another shape than ``stick`` says, or holds NaN.
    """
    taught = found.context.get("edited") == "specialised"
    renamed = TAUGHT if taught else {}
    numbers = Numbers(found.rows, renamed)
    first, _, rest = _typeset(found.headline).partition("; ")
    asked = bool(found.context.get("reads_text", True))
    slots = {
        "title": render(found.title),
        "headline": render(first.rstrip(".") + "."),
        "lede": render(el("p", _sentence(rest), class_="lede") if rest else None),
        "board": board.board(board.cards(numbers, found.concept, asked, taught), found.scoreboard),
        "viewer": _viewer(found, renamed),
        "charts": render(_charts(numbers, found.concept)),
        "instead": render(instead(found.instead, found.concept, renamed)),
        "tables": tables(numbers, found.titles, found.context.get("real_clips") or {}),
        "notes": render([el("p", _typeset(note), class_="faint") for note in found.notes]),
        "facts": circumstances({k: v for k, v in found.context.items() if k not in _HIDDEN}),
        "style": _inline("assets/style.css"),
        "scripts": _scripts() if found.takes else "",
    }
    return _SLOT.sub(lambda match: slots[match[1]], _text("assets/page.html"))


def _typeset(words: str) -> str:
    """Curved quotes, and a thin space before percent signs, as the numbers on the page have it."""
    quoted = re.sub(r"(?<!\w)'([^']+)'(?!\w)", r"‘\1’", words).replace("'", "’")
    return re.sub(r"(?<=\d)%", THIN + "%", quoted)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _viewer(found: Evaluated, renamed: Mapping[str, str]) -> str:
    """The viewer's frame and, as JSON and base64, what it shows; ``renamed``: models that are called otherwise."""
    if not found.takes or found.stick is None:
        return ""
    where, motions = pack(found.takes, found.stick)
    models = list(dict.fromkeys(model for take in found.takes for model in take.clips))
    stick = found.stick
    facts = {
        **where,
        "fps": stick.fps,
        "concept": found.concept,
        "asked": bool(found.context.get("reads_text", True)),
        "models": {model: {"name": model_name(renamed.get(model, model)), "kind": kind(model)} for model in models},
        "sets": {take.set: set_name(take.set) for take in found.takes},
        "stick": {
            "joints": stick.joints,
            "bones": stick.bones,
            "widths": stick.widths,
            "sides": stick.sides,
            "head": stick.head,
            "headRadius": stick.head_radius,
        },
    }
    # A prompt may hold anything: no character of it may end the script element.
    listed = json.dumps(facts, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    data = f'<script type="application/json" id="takes">{listed}</script>'
    data += f'<script type="text/plain" id="motions">{motions}</script>'
    return _text("assets/viewer.html") + data


def _charts(numbers: Numbers, concept: str) -> Markup | None:
    """Forget against retain, and the rates per action; nothing where no detector looks."""
    points = charts.spots(numbers, concept, board.hard_sets(numbers))
    rows = charts.actions(numbers, concept)
    parts = []
    if len(points) > 1:
        hint = f"Share of prompts for ‘{concept}’ that no longer show it; detections elsewhere, relative to the base."
        if any(p.hard for p in points if p.model not in ("base", "reference")):
            hint += " Hollow: prompts that ask for it in other words."
        parts.append(el("figure", el("h2", "Forgotten against kept"), charts.plane(points), el("figcaption", hint)))
    if rows:
        hint = "Share of motions in which each action is detected when asked for, with 95 % intervals."
        parts.append(el("figure", el("h2", "Action by action"), charts.ladder(rows), el("figcaption", hint)))
    return el("section", parts, class_="charts") if parts else None


def _scripts() -> str:
    """The viewer's modules as inert text, and the one script that runs: it joins them."""
    licence = f'<script type="text/plain" id="licence-of-three">{_inline("vendor/LICENSE")}</script>'
    modules = [
        f'<script type="text/plain" data-module="{name}">{_inline(file)}</script>' for name, file in SCRIPTS.items()
    ]
    return "\n".join([licence, *modules, f"<script>{_inline('assets/join.js')}</script>"])


def _inline(file: str) -> str:
    """A file's text, which must not be able to end the element that holds it."""
    text = _text(file)
    if re.search(r"</(script|style)|<!--", text, re.IGNORECASE):
        raise ValueError(f"{file} cannot be put into a page: it holds </script, </style or <!--")
    return text


def _text(file: str) -> str:
    return resources.files("hmu.report.page").joinpath(*file.split("/")).read_text(encoding="utf-8")
