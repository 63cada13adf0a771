"""The words of a command line as people type them, made into what Hydra's grammar takes.

Hydra reads ``prompt=a person's leg, then walks`` as a grammar of lists, calls and sweeps. Here the keys that a script
declares as text (:mod:`hmu.values`) take any text; names of files may begin with ``~``, and hold ``=`` or ``,`` where
such a file exists. What still cannot be read is refused in one line that says how to write it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Override, QuotedString, ValueType
from hydra.errors import HydraException

from hmu.config_types import takes_lists, takes_literal_text, takes_text
from hmu.errors import ConfigError, shown
from hmu.overrides import parsed as parsed_words
from hmu.overrides import split
from hmu.tree import is_group, options
from hmu.values import Keys, annotation

#: Hydra's own options by all their names
_OPTIONS = get_args_parser()._option_string_actions
_MODES = {"run", "multirun", "cfg", "info", "shell_completion"}  # of these a command takes one
_SWEEP = {"-m", "--multirun", "hydra.mode=MULTIRUN"}
JOBS = 10_000  # of a sweep; more is a slip
_SEVERAL = {"callbacks"}  # groups of which several may be chosen at once
_FOLDERS = {"hydra.run.dir", "hydra.sweep.dir"}


def understood(words: Sequence[str], keys: type[Keys], *, sweeps: bool = True) -> list[str]:
    """``words`` as Hydra takes them: its own options in front, wherever they were typed.

    Args:
        words: the command line without the program. keys: what the script declares. sweeps: whether ``-m`` makes sense.

    Raises:
        ConfigError: a word that cannot be read, an unknown option, a group given twice, several values in a single run,
            ``-m`` in vain.
    """
    many = not _SWEEP.isdisjoint(words)
    if many and not sweeps:
        raise ConfigError("-m: this tool makes no sweeps; leave it out, and run the tool once for each value")
    after_option = [False, *(_takes_value(word) for word in words)]
    options = [word for word, after in zip(words, after_option, strict=False) if after or word.startswith("-")]
    _check_options(options)
    settings: list[str] = []
    given: dict[str, str] = {}
    for word in (w for w, after in zip(words, after_option, strict=False) if not after and not w.startswith("-")):
        key = split(word)[0]
        if not key:
            raise ConfigError(f"'{shown(word)}': expected key=value, without spaces around the =")
        if many and key == "hydra.run.dir":
            raise ConfigError(f"{shown(word)}: is not used by a sweep (-m); give its folder with hydra.sweep.dir=…")
        if is_group(key) and given.setdefault(key, word) != word:  # of a single value the last one counts
            raise ConfigError(f"{key} is given twice ({shown(given[key])} and {shown(word)}): give it once")
        settings.append(_understood(word, keys, many))
    return options + settings


def _takes_value(word: str) -> bool:
    return word in _OPTIONS and _OPTIONS[word].nargs != 0


def _check_options(options: Sequence[str]) -> None:
    """Refuse what Hydra's parser would refuse: it prints its usage over a screen."""
    modes: set[str] = set()
    for word, following in zip(options, [*options[1:], ""], strict=False):
        if not word.startswith("-"):  # the value of the option before
            continue
        name, equals, value = word.partition("=")
        action = _OPTIONS.get(name)
        if action is None:
            raise ConfigError(
                f"{shown(word)}: no such option; settings are written key=value (--help shows the most used)"
            )
        if equals and action.nargs == 0:
            raise ConfigError(f"{shown(word)}: this option takes no value")
        value = value if equals else following
        if action.choices and value not in action.choices:
            raise ConfigError(f"{name} {shown(value)}: expected one of {', '.join(action.choices)}")
        if action.dest in _MODES:
            modes.add(max(action.option_strings, key=len))
    if len(modes) > 1:
        raise ConfigError(f"{' and '.join(sorted(modes))} exclude each other: give one of them")


def _understood(word: str, keys: type[Keys], many: bool) -> str:
    name, equals, value = word.partition("=")
    key = name.lstrip("+~")
    if re.match(r"\+[^+@]+\.", name):  # adds a key: one that its file has come to hold since is no mistake
        name = f"+{name}"
    if not equals:
        if word.startswith("~"):  # takes a key out
            if is_group(key) and (annotation(keys, key) is not None or key == "paths"):
                raise ConfigError(f"no value for {key}: it was taken out of the configuration; give {key}=…")
            return word
        raise ConfigError(
            f"'{shown(word)}': expected key=value without spaces around the =; "
            'write text with spaces in quotes: key="two words"'
        )
    hint = annotation(keys, key)
    literal = takes_literal_text(hint)
    value = value if literal else _at_home(value)
    word = f"{name}={value}"
    parsed = _parsed(word)
    if many and parsed is not None and parsed.is_sweep_override():
        _check_jobs(word, parsed)
    if parsed is None and takes_lists(hint) and value.startswith("[") and value.endswith("]"):
        if not _is_place(value[1:-1].rpartition(":")[0]):
            raise _unreadable(word, key)
        return f"{name}=[{quoted(value[1:-1])}]"
    if takes_text(hint) or key in _FOLDERS:
        fits = parsed is not None and _fits(parsed, hint, many, value if literal else None)
        return word if fits else f"{name}={quoted(value, literal)}"
    if parsed is not None and not (parsed.is_sweep_override() and not many):
        _check_choice(key, parsed)
        return word
    if _is_place(value):
        return f"{name}={quoted(value)}"
    if parsed is not None:
        raise ConfigError(
            f"{shown(word)}: gives several values, and one run takes one; add -m to make a run of each, "
            f"or write one text as  \"{key}='…'\""
        )
    raise _unreadable(word, key)


def _unreadable(word: str, key: str) -> ConfigError:
    inner = "['…','…']" if word.partition("=")[2].startswith("[") else "'…'"
    return ConfigError(
        f"{shown(word)}: cannot be read, because some of its characters have a meaning of their own; put single quotes "
        f'around text, and double ones around the whole:  "{key}={inner}"'
    )


def _parsed(word: str) -> Override | None:
    try:
        return parsed_words([word])[0]
    except HydraException:
        return None


def _check_jobs(word: str, parsed: Override) -> None:
    """Refuse a sweep of nothing, of a whole interval, or without end: Hydra lists all values before the first job."""
    key = parsed.get_key_element()
    if parsed.is_interval_sweep():
        raise ConfigError(f"{shown(word)}: a sweep needs single values; write {key}=0,1 or {key}=range(0,1,0.25)")
    if parsed.value_type is ValueType.GLOB_CHOICE_SWEEP:
        names = list(options(key))
        if not parsed._value.filter(names):  # type: ignore[union-attr]
            known = f"of {', '.join(names)}" if names else f"({key} is no group of choices); list the values"
            raise ConfigError(f"{shown(word)}: matches none {known}")
        return
    try:
        jobs = sum(1 for _ in itertools.islice(parsed.sweep_string_iterator(), JOBS + 1))
    except (ArithmeticError, ValueError):
        raise ConfigError(f"{shown(word)}: expected range(start,stop,step) of finite numbers") from None
    if not 0 < jobs <= JOBS:
        raise ConfigError(f"{shown(word)}: asks for {'no job' if not jobs else f'more than {JOBS:,} jobs'}")


def _fits(parsed: Override, hint: Any, many: bool, typed: str | None) -> bool:
    """Whether what Hydra reads is what a key of text may be given: text, null, a list if it takes one, or a sweep.

    ``typed``: what text without quotes has to be, letter by letter; None where that does not matter.
    """
    value = parsed._value
    if parsed.is_sweep_override():
        return many
    if isinstance(value, str):
        return typed is None or (value == typed and "${" not in value)
    if isinstance(value, (list, dict)):  # a list of files where one is expected is a mistake, of words it is text
        return typed is None or (isinstance(value, list) and takes_lists(hint))
    return value is None or isinstance(value, QuotedString)


def quoted(text: str, literal: bool = False) -> str:
    """``text`` as Hydra's grammar quotes it; ``literal``: nor does ``${`` in it mean anything."""
    if literal:
        text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    return "'" + re.sub(r"(\\*)(?='|$)", r"\1\1", text).replace("'", "\\'") + "'"


def _at_home(value: str) -> str:
    """``~/x`` with the home folder, which a shell leaves alone after ``=``; also inside a list."""
    home = str(Path.home())
    if value == "~" or value.startswith("~/"):
        return home + value[1:]
    return re.sub(r"(?<=[\[,])~(?=/)", lambda _: home, value) if value.startswith("[") else value


def _is_place(value: str) -> bool:
    try:
        return Path(value).exists()
    except (OSError, ValueError):
        return False


def _check_choice(key: str, parsed: Override) -> None:
    """A group takes the name of one of its files: Hydra itself ends in a stack trace otherwise."""
    kinds = (str, list, dict) if key.partition("@")[0] in _SEVERAL else (str, dict)
    wrong = not parsed.is_sweep_override() and not isinstance(parsed.value(), kinds)
    if is_group(key) and wrong and not parsed.is_delete():
        names = [name for name in options(key.partition("@")[0]) if "/" not in name]
        raise ConfigError(f"{shown(parsed.input_line)}: expected one of {', '.join(names)}")
