"""``--help`` of every script and tool, read from its configuration file: what it does, what one sets, examples.

The header of ``configs/<root>.yaml`` says what the command does and shows it; the comments behind the keys say what
they are. ``--help <group>`` lists the choices of a group with the first sentence of each.
"""

from __future__ import annotations

import itertools
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence

from hmu.errors import ConfigError
from hmu.tree import is_group, options, tree

FLAGS = {"-h", "--help", "-?"}
FEW = 5  # options and examples
MANY = 14  # choices in one line
_COMMAND = re.compile(r"\b(?:python|torchrun) (?=-|\w+\.py).*")
_PROSE = re.compile(r"\s{2,}\(.*|;\s.*|\s+#\s.*|,? or (?=python |torchrun ).*")  # what follows a command
_USED = "Most used:"
_HIDDEN = {"defaults", "hydra", "job", "run_name", "subject", "without_evaluator"}  # of the house, not of its guests
_NO_CHOICE = ("hydra", "paths", "experiment", "debug", "tuning", "recipe")  # groups that follow from others
_PARTS = {"suite": "metric"}  # a group, and the one of what it holds
_KEY = re.compile(r"^(\w+):([^#\n]*)(?:#[ \t]*(.*))?$", re.MULTILINE)  # at the top of the file


def header(text: str) -> list[str]:
    """The lines of the comment that a configuration file starts with."""
    return [line[1:].strip() for line in itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())]


def commands(lines: Sequence[str]) -> Iterator[str]:
    """The commands in a header, without the prose around them."""
    for line in lines:
        while match := _COMMAND.search(line):
            command = _PROSE.sub("", match.group()).strip()
            yield command
            line = line[match.start() + len(command) :]


def summary(text: str) -> str:
    """What a configuration file says of itself: its header up to the first command."""
    first = next(iter(header(text)), "")
    return _COMMAND.split(first)[0].strip().rstrip(":").strip()


def main_help(root: str, words: Sequence[str]) -> str:
    """The text for ``--help`` of the root configuration ``root``, or for ``--help <group>``.

    Raises:
        ConfigError: a word that is no group of the command.
    """
    files = [folder / f"{root}.yaml" for folder in tree()]
    text = next(path for path in files if path.is_file()).read_text(encoding="utf-8")
    named = re.findall(r"^  - (?:optional )?(\w+)(?:@[\w.]+)?:", text, re.MULTILINE)
    groups = [name for name in named if name not in _NO_CHOICE and is_group(name)]
    groups += [part for group, part in _PARTS.items() if group in groups]
    asked = [word for word in words if not word.startswith("-") and "=" not in word]
    if asked:
        return "\n".join(itertools.chain.from_iterable(_choices(word, groups) for word in asked)) + "\n"
    lines = header(text)
    shown = list(commands(lines))[:FEW]
    called = shown[0].split()
    name = " ".join(called[: 3 if called[1] == "-m" else 2])
    keys = {k: (value.strip(), comment) for k, value, comment in _KEY.findall(text) if k not in _HIDDEN}
    most = next((line[len(_USED) :].split() for line in lines if line.startswith(_USED)), [*keys, *groups][:FEW])
    purpose = summary(text)
    page = [purpose if purpose.endswith("?") else f"{purpose}.", "", _USED]
    page += [*_options(most, keys, text), "", "Examples:", *(f"  {command}" for command in shown), ""]
    if rest := ", ".join(f"{key}=" for key in keys if key not in most):
        page += textwrap.wrap(f"Also: {rest}", 116, subsequent_indent="  ")
    if groups:
        page += [f"Choices of a group, one of {', '.join(groups)}:  {name} --help {groups[0]}"]
        page += [f"The whole configuration that a command stands for; nothing is run:  {name} … --cfg job"]
    return "\n".join([*page, f"Every key with its comment: configs/{root}.yaml"]) + "\n"


def _options(names: Sequence[str], keys: dict[str, tuple[str, str]], text: str) -> Iterator[str]:
    width = max(map(len, names), default=0) + 1
    for name in names:
        if name in keys:
            value, comment = keys[name]
            words = f"{comment or ''}{'' if value in ('null', '???') else f'  (default {value})'}".strip()
        else:
            default = re.search(rf"^  - (?:optional )?{name}: (\S+)", text, re.MULTILINE)
            choices = list(options(name))
            few = " | ".join(choices[:MANY]) + (" | …" if len(choices) > MANY else "")
            words = f"{few}  (default {default[1] if default else 'none'})"
        indent = " " * (width + 4)
        yield from textwrap.wrap(words, 116, initial_indent=f"  {name + '=':<{width}}  ", subsequent_indent=indent)


def _choices(group: str, groups: Sequence[str]) -> Iterator[str]:
    if group not in groups:
        raise ConfigError(f"--help {group}: no such group of choices here; there are {', '.join(groups)}")
    files = options(group)
    width = max(map(len, files), default=0)
    yield next((f"+{group}@{whole}.{group}s.<name>=" for whole, part in _PARTS.items() if part == group), f"{group}=")
    for name, path in files.items():
        yield f"  {name:<{width}}  {summary(path.read_text(encoding='utf-8'))}".rstrip()


def show(root: str, words: Sequence[str]) -> bool:
    """Print the help if it is asked for; whether it was."""
    if not FLAGS & set(words):
        return False
    sys.stdout.write(main_help(root, words))
    return True
