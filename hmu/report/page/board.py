"""The scoreboard: three questions, each answered by what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hmu.evaluation.results import Row
from hmu.evaluation.sets import FORGET_SIDE
from hmu.metrics.detector_rate import RATE
from hmu.report.numbers import Numbers, set_name

Rows = Mapping[str, Row]  #: one number of several models
MORE = 3  #: further lines of a card


@dataclass(frozen=True)
class Card:
    """One of the three answers.

    Attributes:
        title, question: of the card.
        words: what the large numbers are; rows: those of each model. more: further lines, name and rows each.
    """

    title: str
    question: str
    words: str
    rows: Rows
    more: Sequence[tuple[str, Rows]] = ()

    @property
    def is_share(self) -> bool:
        """Whether the large numbers stand on an axis from 0 to 100 %."""
        return next(iter(self.rows.values())).is_share


def cards(numbers: Numbers, concept: str, asked: bool = True, taught: bool = False) -> list[Card]:
    """Forget, Keep and Hold, as far as they were measured.

    Args:
        numbers: the rows. concept: what was unlearned.
        asked: whether the model reads prompts. taught: whether the edit is meant to show the concept.
    """
    answers = [_forget(numbers, concept, asked, taught), _keep(numbers), _hold(numbers, concept)]
    return [card for card in answers if card is not None]


def hard_sets(numbers: Numbers) -> list[str]:
    """Sets that ask for the concept in other words."""
    return [name for name in numbers.sets if name in FORGET_SIDE and name != "forget"]


def _forget(numbers: Numbers, concept: str, asked: bool, taught: bool) -> Card | None:
    title, question = ("Learn", "Is it there?") if taught else ("Forget", "Is it gone?")
    rows = numbers.line("forget", RATE, concept)
    if not rows:
        return _distances(numbers, "forget", title, question)
    words = f"of motions show ‘{concept.replace('_', ' ')}’" + (" when asked for it" if asked else "")
    return Card(title, question, words, rows)


def _keep(numbers: Numbers) -> Card | None:
    title, question = "Keep", "Is the rest as before?"
    rows = numbers.line("retain", RATE)
    if not rows:
        return _distances(numbers, "retain", title, question)
    more = [("similar actions", numbers.line("neighbours", RATE))]
    more += [(f"{name}, retain", line) for name, line in _headlines(numbers, "retain")]
    return Card(title, question, "of other motions show what was asked for", rows, [line for line in more if line[1]])


def _hold(numbers: Numbers, concept: str) -> Card | None:
    lines = [(f"{set_name(name).lower()} prompts", numbers.line(name, RATE, concept)) for name in hard_sets(numbers)]
    lines = [(name, rows) for name, rows in lines if rows]
    if not lines:
        return None
    compared = [model for model in numbers.models if model not in ("base", "reference")] or numbers.models
    worst = max(lines, key=lambda line: line[1][compared[-1]].value if compared[-1] in line[1] else -1.0)
    words = f"of motions still show it for {worst[0]}" + (", the worst set" if len(lines) > 1 else "")
    return Card("Hold", "Does it stay gone?", words, worst[1], [line for line in lines if line is not worst])


def _headlines(numbers: Numbers, set_: str) -> list[tuple[str, Rows]]:
    """What metrics want to be read first on a set, by title, without what the judge sees."""
    keys = [key for key in numbers.short("") if key[0] == set_ and key[1] != RATE]
    return [(numbers.first(key).title, numbers.line(*key)) for key in keys][:MORE]


def _distances(numbers: Numbers, set_: str, title: str, question: str) -> Card | None:
    """Where no detector looks: what metrics want to be read first, or else whatever was measured."""
    others = [key for key in numbers.keys(set_) if key[2] is None]
    lines = _headlines(numbers, set_) or [(numbers.first(key).title, numbers.line(*key)) for key in others[:MORE]]
    if not lines:
        return None
    return Card(title, question, f"{lines[0][0]} on the {set_} prompts", lines[0][1], lines[1:])
