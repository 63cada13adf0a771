"""What is generated instead of the concept: two small tables of labels before and after, and the nearest captions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmu.report.page.markup import Content, Markup, el
from hmu.report.page.numbers import THIN, kind, model_name

COLUMNS = 6  # the most frequent labels; the others share a column
_TABLES = {
    "seen": "What the detectors see",
    "captions": "What the nearest real clip’s caption names",
}


def instead(found: Mapping[str, Any], concept: str, renamed: Mapping[str, str] | None = None) -> Markup | None:
    """The section, or None where nothing could tell what a motion is.

    Args:
        found: what :func:`hmu.report.instead.instead` returns.
        concept: in words; renamed: models that are called otherwise than ``found`` does.
    """
    if not {"seen", "captions"} & set(found):
        return None
    base, renamed = found["models"][0], renamed or {}
    figures = [
        _table(words, base, renamed.get(model, model), table)
        for key, words in _TABLES.items()
        for model, table in found.get(key, {}).items()
    ]
    captions = [_captions(renamed.get(model, model), listed) for model, listed in found.get("nearest", {}).items()]
    hint = (
        f"Motions of the {found['prompts']} prompts for ‘{concept}’, one by one: how often what the base shows (rows) "
        "became something else (columns). One label each, the rarer one where several fit."
    )
    return el(
        "section",
        el("h2", "What is generated instead"),
        el("p", hint, class_="faint"),
        el("div", figures, class_="charts"),
        [el("h3", "Nearest captions in the data"), el("div", captions, class_="charts")] if captions else None,
        class_="instead",
    )


def _table(words: str, base: str, model: str, table: Mapping[str, Any]) -> Markup:
    """Counts of label pairs: no empty rows, rare columns joined, a cell is darker the larger its share of the row."""
    labels, counts = table["labels"], table["counts"]
    rows = [i for i, row in enumerate(counts) if sum(row)]
    often = sorted(range(len(labels)), key=lambda j: -sum(row[j] for row in counts))
    rest = [j for j in often[COLUMNS:] if any(row[j] for row in counts)]
    columns = [[j] for j in often[:COLUMNS] if any(row[j] for row in counts)] + ([rest] if rest else [])
    head: list[Content] = [el("th", f"{model_name(base)} ↓ {model_name(model)} →", scope="col")]
    head += [el("th", "others" if group is rest else _name(labels[group[0]]), scope="col") for group in columns]
    body = []
    for i in rows:
        total = sum(counts[i])
        cells = [
            el("td", str(n) if n else "", class_="number", style=f"--share: {n / total:.2f}" if n else None)
            for n in (sum(counts[i][j] for j in group) for group in columns)
        ]
        body.append(el("tr", el("th", _name(labels[i]), scope="row"), cells))
    inside = el("table", el("thead", el("tr", head)), el("tbody", body))
    return el("figure", el("div", inside, class_="scroll"), el("figcaption", f"{words}, {model_name(model)}."))


def _captions(model: str, listed: list[Mapping[str, Any]]) -> Markup:
    lines = [el("li", item["caption"], el("small", f" {100 * item['share']:.0f}{THIN}%")) for item in listed]
    return el("figure", el("p", model_name(model), class_=f"model {kind(model)}"), el("ol", lines))


def _name(label: str) -> str:
    return label.replace("_", " ")
