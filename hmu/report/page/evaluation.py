"""``report.html`` of a run folder: numbers as HTML that needs no script, motions and viewer behind them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from hmu.evaluation.results import Results
from hmu.metrics.detector_rate import RATE
from hmu.motion.stick import Stick
from hmu.report.confusion import TABLES, tables_of
from hmu.report.numbers import Key, Numbers, model_look, model_name, set_name, set_title
from hmu.report.page.board import Rows, cards, hard_sets
from hmu.report.page.motions import Take, pack
from hmu.report.page.plane import WHOLE, WHOLE_AND_MORE, Mark, Plane
from hmu.report.page.rendering import render, span
from hmu.report.text import HIDDEN, LEGEND, count_of, headline, real_clips, set_table, warnings

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
TAUGHT = {"unlearned": "specialised"}  #: what rows call the edited model, and what it is if it was taught the concept
LABELS = 6  #: columns of a table of labels; the rarer ones share the last
_OWN = ("guidance", "steps")  # of the context: without a value the backbone's own hold
_HASH = re.compile("[0-9a-f]{24,}")


def page(
    results: Results,
    takes: Sequence[Take] = (),
    stick: Stick | None = None,
    confusion: Mapping[str, Any] | None = None,
) -> str:
    """The whole page: one HTML document that asks for nothing else.

    Args:
        takes: motions to look at, of any figure; stick: how their joints are joined (needed where there are takes).
        confusion: the content of ``instead.json`` (:func:`hmu.report.confusion.confusions`); empty = not shown.
    """
    context, real = results.context, real_clips(results.context)
    title, concept = str(context.get("title", "Evaluation")), str(context.get("concept", "the concept"))
    asked, taught = bool(context.get("reads_text", True)), context.get("edited") == "specialised"
    renamed = TAUGHT if taught else {}
    numbers = Numbers(results.rows, renamed)
    first, _, rest = headline(results).partition("; ")
    return render(
        "evaluation.html",
        title=title,
        over=title,
        headline=first.rstrip(".") + ".",
        lede=rest[:1].upper() + rest[1:],
        concept=concept,
        cards=cards(numbers, concept, asked, taught),
        scores={"learn": None, **results.scoreboard},
        viewer=_viewer(takes, stick, renamed, concept, asked) if takes and stick is not None else None,
        plane=_plane(numbers, concept),
        actions=_actions(numbers, concept),
        confusion=confusion_view(confusion or {}, renamed),
        sets=[_set(numbers, name, real) for name in numbers.sets],
        notes=[*(f"{warning}." for warning in warnings(results)), *LEGEND],
        facts=[_fact(key, value) for key, value in context.items() if key not in HIDDEN],
        scripts=SCRIPTS,
    )


def _set(numbers: Numbers, name: str, real: Mapping[Key, str]) -> dict[str, Any]:
    """A prompt set with everything measured on it."""
    return {
        "title": set_title(name),
        "count": count_of(numbers, name),
        "open": name in ("forget", "retain"),
        "table": set_table(numbers, name, real, titled=True).without_empty_columns(),
    }


def _viewer(
    takes: Sequence[Take], stick: Stick, renamed: Mapping[str, str], concept: str, asked: bool
) -> dict[str, Markup]:
    """The motions of the viewer, in base64, and the facts about them, as JSON."""
    places, motions = pack(takes, stick)
    names = {model: renamed.get(model, model) for take in takes for model in take.clips}
    facts = {
        **places,
        "fps": stick.fps,
        "concept": concept,
        "asked": asked,
        "models": {key: {"name": model_name(name), "kind": model_look(name)} for key, name in names.items()},
        "sets": {take.set: set_name(take.set) for take in takes},
        "stick": {**asdict(stick), "headRadius": stick.head_radius},
    }
    # A prompt may hold anything: no character of it may end the script element.
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return {"facts": Markup(text), "motions": Markup(motions)}


def _plane(numbers: Numbers, concept: str) -> Plane | None:
    """Models whose two rates were measured; None without detectors, or with one model."""
    base = numbers.get("base", "retain", RATE)
    if base is None or not base.value:
        return None
    marks = []
    for model in numbers.models:
        asked, kept = numbers.get(model, "forget", RATE, concept), numbers.get(model, "retain", RATE)
        if asked is None or kept is None:
            continue
        hard = {name: numbers.get(model, name, RATE, concept) for name in hard_sets(numbers)}
        echoes = [(name, 1 - row.value) for name, row in hard.items() if row is not None]
        (low, high), (down, up) = span(asked), (edge / base.value for edge in span(kept))
        marks.append(
            Mark(
                model_name(model),
                model_look(model),
                1 - asked.value,
                kept.value / base.value,
                (1 - high, 1 - low),
                (down, up),
                echoes=() if model in ("base", "reference") else tuple(echoes),
            )
        )
    if len(marks) < 2:
        return None
    words = "; ".join(f"{mark.name} {mark.x:.0%} forgotten, {mark.y:.0%} kept" for mark in marks)
    words = f"Share forgotten against share kept: {words}"
    return Plane(marks, WHOLE, WHOLE_AND_MORE, 330.0, 220.0, words, target=True)


def _actions(numbers: Numbers, concept: str) -> list[tuple[str, Rows]]:
    """Detection rate of every action where it is asked for, the concept first: how specific the change is."""
    asked = numbers.line("forget", RATE, concept)
    labels = [key[2] for key in numbers.keys("retain") if key[1] == RATE and key[2] not in (None, concept)]
    rest = [(str(label), numbers.line("retain", RATE, label)) for label in labels]
    # Frequent actions first: below them the intervals are wide.
    rest.sort(key=lambda item: (-max(row.n for row in item[1].values()), item[0]))
    return [(concept, asked), *rest] if asked else list(rest)


def confusion_view(content: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any] | None:
    """What ``confusion.html`` shows of ``instead.json``; None where nothing could tell what a motion is.

    ``renamed``: models that are called otherwise than in ``content``.
    """
    if not set(TABLES) & set(content):
        return None
    tables = [
        (words, renamed.get(model, model), table)
        for key, words in TABLES.items()
        for model, table in tables_of(content, key).items()
    ]
    captions = {renamed.get(model, model): listed for model, listed in content.get("nearest", {}).items()}
    base, prompts = content["models"][0], content["prompts"]
    return {"tables": tables, "captions": captions, "base": base, "prompts": prompts, "labels": LABELS}


def _fact(key: str, value: Any) -> dict[str, str]:
    """A circumstance in words, long hashes cut and in full."""
    if key in _OWN and value is None:
        value = "the backbone’s own"
    return {"name": key, "short": _words(value), "full": _words(value, short=False)}


def _words(value: Any, short: bool = True) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {_words(item, short)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_words(item, short) for item in value)
    text = "none" if value is None else str(value)
    return f"{text[:12]}…" if short and _HASH.fullmatch(text) else text
