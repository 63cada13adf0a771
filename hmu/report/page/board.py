"""The scoreboard: three questions, each answered by what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hmu.metrics.declared import is_share
from hmu.report.page.charts import pair, ranges
from hmu.report.page.markup import Markup, el
from hmu.report.page.numbers import Measured, Numbers, metric_name, model_name, set_name, tag, whole

KEPT = ("retain", "neighbours")
_FORGET_FALLBACKS = ("mm_safe_clean", "fid", "kernel_distance", "mm_dist")
_KEEP_METRICS = ("fid", "kernel_distance", "r_precision_3")


@dataclass(frozen=True)
class Card:
    """One of the three answers.

    Attributes:
        title, question: of the card.
        words: what the large numbers are; first: those of each model. more: further lines, name and values each.
    """

    title: str
    question: str
    words: str
    first: dict[str, Measured]
    more: Sequence[tuple[str, dict[str, Measured]]] = ()


def hard_sets(numbers: Numbers) -> list[str]:
    """Sets that ask for the concept in other words: neither the forget set itself nor what is to be kept."""
    return [name for name in numbers.sets if name not in ("forget", *KEPT)]


def cards(numbers: Numbers, concept: str, asked: bool = True, taught: bool = False) -> list[Card]:
    """Forget, Keep and Hold, as far as they were measured.

    ``asked``: the model reads prompts. ``taught``: the edit is meant to show the concept.
    """
    found = [_forget(numbers, concept, asked, taught), _keep(numbers), _hold(numbers, concept)]
    return [card for card in found if card is not None]


def _forget(numbers: Numbers, concept: str, asked: bool, taught: bool) -> Card | None:
    title, question = ("Learn", "Is it there?") if taught else ("Forget", "Is it gone?")
    seen = numbers.line("forget", "detector_rate", concept)
    if seen:
        words = f"of motions show ‘{concept.replace('_', ' ')}’" + (" when asked for it" if asked else "")
        return Card(title, question, words, seen)
    return _distances(numbers, "forget", _FORGET_FALLBACKS, title, question)


def _keep(numbers: Numbers) -> Card | None:
    title, question = "Keep", "Is the rest as before?"
    rates = [(name, numbers.line(name, "detector_rate")) for name in KEPT]
    more = [(metric_name(metric), numbers.line("retain", metric)) for metric in _KEEP_METRICS]
    if not rates[0][1]:
        return _distances(numbers, "retain", ("fid", "kernel_distance", "mm_dist"), title, question)
    rest = [("similar actions", rates[1][1]), *((f"{name}, retain", line) for name, line in more)]
    return Card(title, question, "of other motions show what was asked for", rates[0][1], [r for r in rest if r[1]])


def _hold(numbers: Numbers, concept: str) -> Card | None:
    lines = [
        (f"{set_name(name).lower()} prompts", numbers.line(name, "detector_rate", concept))
        for name in hard_sets(numbers)
    ]
    lines = [(name, line) for name, line in lines if line]
    if not lines:
        return None
    compared = [m for m in numbers.models if m not in ("base", "reference")] or numbers.models
    worst = max(lines, key=lambda item: item[1][compared[-1]].value if compared[-1] in item[1] else -1.0)
    words = f"of motions still show it for {worst[0]}" + (", the worst set" if len(lines) > 1 else "")
    return Card("Hold", "Does it stay gone?", words, worst[1], [item for item in lines if item is not worst])


def _distances(numbers: Numbers, set_: str, metrics: Sequence[str], title: str, question: str) -> Card | None:
    """The first of ``metrics`` that was measured, or else whatever was, where no detector looks."""
    others = [metric for _, metric, label in numbers.keys(set_) if label is None]
    wanted = list(dict.fromkeys([m for m in metrics if m in others] + others))
    lines = [(metric, numbers.line(set_, metric)) for metric in wanted]
    lines = [(metric, line) for metric, line in lines if line]
    if not lines:
        return None
    more = [(metric_name(metric), line) for metric, line in lines[1:3]]
    return Card(title, question, f"{metric_name(lines[0][0])} on the {set_} prompts", lines[0][1], more)


def board(found: Sequence[Card], scores: Mapping[str, Any]) -> Markup:
    """The cards as markup, each with its score in 0 … 1 where there is one (``scores``, by lower-case title)."""
    return el("div", [_card(card, scores.get(card.title.lower())) for card in found], class_="board")


def _card(card: Card, score: float | None) -> Markup:
    large = []
    for number, (model, row) in enumerate(card.first.items()):
        if number == 1:
            large.append(el("span", "→", class_="to", aria_hidden="true"))
        if number < 2:
            large.append(tag(model, whole(row.value, row.metric)))
    metric = next(iter(card.first.values())).metric
    rest = [
        el("p", model_name(m), " ", tag(m, whole(r.value, r.metric)), class_="third")
        for m, r in list(card.first.items())[2:]
    ]
    return el(
        "article",
        el("h2", el("span", card.title, " ", el("small", card.question)), _score(score)),
        el("p", large, class_="large"),
        ranges(card.first, metric) if is_share(metric) else None,
        el("p", card.words, class_="words"),
        rest,
        el("dl", [_more(name, line) for name, line in card.more]) if card.more else None,
        class_="card",
    )  # fmt: skip


def _score(score: float | None) -> Markup | None:
    """The mark of the scoreboard; nothing where it cannot be told."""
    if score is None:
        return None
    return el("span", f"{score:.2f}", class_="score", title="score: 0 worst, 1 best (see the scoreboard in the docs)")


def _more(name: str, line: dict[str, Measured]) -> Markup:
    return el("div", el("dt", name), el("dd", pair(line), class_="pair"))
