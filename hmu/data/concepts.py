"""A concept is data: the words by which captions name an action, and what should become of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from hmu.english import inflections
from hmu.errors import ConfigError, shown

# Small words that may stand between the words of a keyword: "raise arms" also finds "raises both of his arms".
FILLER = r"(?:a|an|the|his|her|their|its|one|both|of|two|left|right|up|out|some|something)"
WORD = r"[^\W_]+(?:'[^\W_]+)?"
MATCHES = ("word", "substring")
PROMPTS = ("explicit", "paraphrase", "typo", "implicit", "compositional")  #: a concept's lists of prompts


@dataclass(frozen=True)
class Concept:
    """What to forget, as written in ``configs/concept/<name>.yaml``.

    Attributes:
        name: used in file names (``kw_splits/train-w-<name>.txt``): letters, digits, ``_`` and ``-``.
        keywords: with ``match: word`` base forms ("kick", "raise arm"), found in every usual inflection, ignoring case,
            in the caption and in its lemmatised tokens. With ``match: substring`` regular expressions, joined with
            ``|`` and searched case-sensitively anywhere in the whole caption line (the published rule).
        exceptions: phrases in which a keyword does not count ("coat hook" for "hook"); only ``match: word``.
        match: ``word`` (where nothing is said) or ``substring``.
        target: the prompt that names the concept; empty = the first keyword.
        anchor: what it should become; empty = unconditional.
        neighbours: keywords (or concept names) of actions that are alike and must survive.
        explicit, compositional: prompts that name the concept, alone or together with another action.
        paraphrase, implicit: prompts that mean the concept without naming it.
        typo: prompts that misspell its name. All prompts are for evaluation only; a limit takes the first of a list.
        detector: name of the kinematic detector that sees the concept in a motion, if there is one.
        overrides: per data set name, fields that differ there: ``{motion_x: {keywords: [...]}}``.
        min_occurrence: how many caption lines of a clip must match.

    Raises:
        ConfigError: on construction, naming the field that is wrong.
    """

    name: str
    keywords: Sequence[str]
    exceptions: Sequence[str] = ()
    match: str = ""
    target: str = ""
    anchor: str = ""
    neighbours: Sequence[str] = ()
    paraphrase: Sequence[str] = ()
    implicit: Sequence[str] = ()
    explicit: Sequence[str] = ()
    typo: Sequence[str] = ()
    compositional: Sequence[str] = ()
    detector: str | None = None
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    min_occurrence: int = 1

    def __post_init__(self) -> None:
        for key in ("keywords", "exceptions", "neighbours", *PROMPTS):
            object.__setattr__(self, key, _strings(self.name, key, getattr(self, key)))
        object.__setattr__(self, "match", self.match or MATCHES[0])
        if not isinstance(self.overrides or {}, Mapping):
            raise ConfigError(
                f"concept '{self.name}': overrides is no mapping; expected {{data set: {{field: value}}}}"
            )
        plain = {str(k): dict(v) if isinstance(v, Mapping) else v for k, v in dict(self.overrides or {}).items()}
        object.__setattr__(self, "overrides", plain)
        self._validate()

    def _validate(self) -> None:
        where = f"concept '{self.name}'"
        if not re.fullmatch(r"[\w-]+", str(self.name)):
            raise ConfigError(f"{where}: the name goes into file names; use letters, digits, '_' and '-' only")
        if not self.keywords:
            raise ConfigError(f"{where}: keywords is empty; give at least one word that captions use for it")
        if self.match not in MATCHES:
            raise ConfigError(f"{where}: match is '{self.match}'; expected one of {', '.join(MATCHES)}")
        if isinstance(self.min_occurrence, bool) or not isinstance(self.min_occurrence, int) or self.min_occurrence < 1:
            raise ConfigError(f"{where}: min_occurrence is {self.min_occurrence!r}; expected a whole number >= 1")
        if self.match == "word":
            for key in ("keywords", "exceptions"):
                empty = next((phrase for phrase in getattr(self, key) if not re.search(WORD, phrase)), None)
                if empty is not None:
                    raise ConfigError(
                        f"{where}: {key} holds {shown(repr(empty))}, which has no word in it; expected words as "
                        "captions have them (regular expressions need match: substring)"
                    )
        if self.detector is not None:
            from hmu.motion import detectors  # whoever only reads word lists need not wait for it

            detectors.rule_of(str(self.detector))
        if self.match == "substring":
            if self.exceptions:
                raise ConfigError(f"{where}: exceptions need match: word; the published substring rule has none")
            try:
                re.compile("|".join(self.keywords))
            except re.error as error:
                raise ConfigError(f"{where}: keywords are no valid regular expression: {error}") from error
        allowed = {f.name for f in fields(self)} - {"name", "overrides"}
        for dataset, change in self.overrides.items():
            wrong = sorted(set(change) - allowed) if isinstance(change, Mapping) else ["(not a mapping)"]
            if wrong:
                raise ConfigError(f"{where}: overrides.{dataset} has {', '.join(wrong)}; may hold {sorted(allowed)}")
            try:
                replace(self, overrides={}, **change)
            except (ConfigError, TypeError) as error:
                raise ConfigError(f"{where}: overrides.{dataset}: {error}") from error

    # -- variants -----------------------------------------------------------------------------------------------------
    def for_dataset(self, name: str) -> Concept:
        """The concept with the overrides of data set ``name`` applied (case and ``-``/``_`` do not matter)."""
        plain = name.lower().replace("-", "_")
        change = next((c for key, c in self.overrides.items() if key.lower().replace("-", "_") == plain), {})
        return replace(self, overrides={}, **change)

    @property
    def prompt(self) -> str:
        """The target prompt, or the first keyword where none is given."""
        return self.target or self.keywords[0]

    @cached_property
    def substring_pattern(self) -> re.Pattern[str]:
        """The published rule: keywords joined with ``|``, case-sensitive."""
        return re.compile("|".join(self.keywords))

    # -- matching -----------------------------------------------------------------------------------------------------
    @cached_property
    def _word_pattern(self) -> re.Pattern[str]:
        return phrase_pattern(self.keywords)

    @cached_property
    def _exception_pattern(self) -> re.Pattern[str] | None:
        return phrase_pattern(self.exceptions) if self.exceptions else None

    def find(self, text: str) -> list[re.Match[str]]:
        """Every place of ``text`` (a sentence) that names the concept, left to right, exceptions left out."""
        if self.match == "substring":
            pattern = self.substring_pattern
        else:
            pattern = self._word_pattern
            if self._exception_pattern is not None:
                text = self._exception_pattern.sub(lambda m: "\0" * len(m.group()), text)
        return list(pattern.finditer(text))

    def find_line(self, line: str) -> str | None:
        """The word by which one whole line of a caption file names the concept, or None.

        ``word``: searched in the caption (before the first ``#``), then in the lemmas of its ``word/POS`` tokens.
        ``substring``: searched in the raw line, tags and times included.
        """
        if self.match == "substring":
            hit = self.substring_pattern.search(line)
            return None if hit is None else hit.group()
        caption, *rest = line.split("#")
        matches = self.find(caption)
        if not matches and rest:
            matches = self.find(" ".join(token.rpartition("/")[0] for token in rest[0].split()))
        return matches[0].group() if matches else None

    def mask(self, text: str) -> str:
        """``text`` without the words that name the concept (for MM-Safe, definition ``clean``)."""
        for match in reversed(self.find(text)):
            text = text[: match.start()] + text[match.end() :]
        return re.sub(r"\s{2,}", " ", text).strip()


def phrase_pattern(phrases: Iterable[str]) -> re.Pattern[str]:
    """A pattern for any of ``phrases``, each word in all its inflections, at most two small words between two words."""
    alternatives = []
    for phrase in sorted(phrases, key=lambda p: (-len(p), p)):
        words = re.findall(WORD, phrase.lower().replace("_", " "))
        forms = [
            "(?:" + "|".join(sorted(map(re.escape, inflections(word)), key=lambda f: (-len(f), f))) + ")"
            for word in words
        ]
        if forms:
            alternatives.append(rf"(?:[\s-]+{FILLER}){{0,2}}[\s-]+".join(forms))
    return re.compile(r"(?<![^\W_])(?:" + "|".join(alternatives or [r"(?!)"]) + r")(?![^\W_])", re.IGNORECASE)


def _strings(name: str, key: str, value: object) -> tuple[str, ...]:
    """``value`` as a tuple of non-empty strings, or a ConfigError that names the field."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigError(f"concept '{name}': {key} is {value!r}; expected a list of strings")
    items = tuple(value)
    for item in items:
        if not isinstance(item, str) or not item.strip():
            raise ConfigError(
                f"concept '{name}': {key} holds {item!r}; expected non-empty text (quote numbers and yes/no)"
            )
    return items
