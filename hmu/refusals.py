"""Errors in one line: a user's mistakes, a disk's, and Hydra's and OmegaConf's refusals in our words."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable

from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hmu.documents import walk
from hmu.errors import HmuError, offered, printable, shown

_ELSEWHERE = "free space or choose another folder (paths.output=…)"
_FULL = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EFBIG)
_HELP = "--help lists what there is, --cfg job every key"


def one_line(error: Exception) -> str | None:
    """A user's mistake, or a disk's, in one line; None for a bug."""
    if isinstance(error, InstantiationException) and not isinstance(error.__cause__, (HmuError, type(None))):
        return None  # what was built failed for a reason that is not the user's
    if isinstance(error, (HmuError, HydraException, OmegaConfBaseException)):
        return _words(error)
    if isinstance(error, OSError) and error.errno in _FULL:
        place = f"'{error.filename}'" if error.filename else "a file"
        return f"cannot write {place}: {error.strerror}; {_ELSEWHERE}"
    if isinstance(error, OSError) and error.errno is None and " requested and " in str(error):  # numpy's own words
        return f"cannot write a file: {os.strerror(errno.ENOSPC)} ({error}); {_ELSEWHERE}"
    if isinstance(error, (FileExistsError, NotADirectoryError)) and error.filename is not None:
        return f"'{shown(error.filename, 200)}': a file is where a folder is needed; choose another place"
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:  # the system's, no bug
        return f"'{shown(error.filename, 200)}': {error.strerror}; check that path"
    return None


def _words(error: BaseException) -> str:
    """An error's message on one line; Hydra's lists of options are kept, its advice on stack traces is not."""
    cause = error.__cause__
    if isinstance(cause, HmuError):
        error = cause
    if words := _in_our_words(error):
        return printable(words)
    lines = [line.strip() for line in str(error).split("Config search path:")[0].splitlines()]
    advice = re.compile("full_key:|object_type=|.*HYDRA_FULL_ERROR")
    return printable(" ".join(line for line in lines if line and not advice.match(line))) or type(error).__name__


def _in_our_words(error: BaseException) -> str | None:
    """A refusal in one line; None for one that needs no other words."""
    text = str(error)
    for pattern, words in _WORDS:
        if (match := re.search(pattern, text, re.DOTALL)) and isinstance(words, str):
            groups = {
                name: shown((value or "").strip().partition("\n")[0]) for name, value in match.groupdict().items()
            }
            return words.format(**groups)
        if match and callable(words):
            return words(match, error)
    return _interpolation(error, text) if isinstance(error, OmegaConfBaseException) else None


def _no_choice(match: re.Match[str], error: BaseException) -> str:
    """``concept=kik``: the group's choices, the near ones first where there are many."""
    group, listed = match["group"], match["options"].split("Config search path:")[0].split()
    asked = match["path"].removeprefix(f"{group}/")
    options = [name for name in listed if not name.startswith("_")]
    return f"{group}={shown(asked)}: no such choice; there are {offered(options, asked)}"


def _no_key(match: re.Match[str], error: BaseException) -> str:
    """``lr=1e-4``: the key that the user may mean, or those that there are at that place."""
    typed, key = shown(match["typed"].strip()), match["key"]
    node = getattr(error.__cause__, "parent_node", None)
    leaf = key.rpartition(".")[2]
    if not isinstance(node, DictConfig):
        return f"{typed}: there is no key '{key}'; {_HELP}"
    every = (".".join(path) for path, _ in walk(OmegaConf.to_container(node._get_root())) if path[-1:] == (leaf,))
    elsewhere = [name for name in every if name != key and not name.startswith("hydra.")]
    if elsewhere:
        return f"{typed}: there is no key '{key}'; did you mean {offered(elsewhere, key, ' or ')}?"
    return f"{typed}: unknown key '{key}'; known here: {offered([str(k) for k in node], leaf)}"


def _elsewhere(match: re.Match[str], error: BaseException) -> str:
    places = re.split(r", | or ", match["places"].strip())
    return f"{match['key']}=…: belongs to a part here, so write {' or '.join(f'{place}=…' for place in places)}"


def _several(match: re.Match[str], error: BaseException) -> str:
    return f"one of {' and '.join(re.findall(r'[a-z]+', match['keys']))} has no single choice: give one name for each"


_WORDS: tuple[tuple[str, Callable[[re.Match[str], BaseException], str] | str], ...] = (
    (r"Could not find '(?P<path>[^\n]*)'\s+Available options in '(?P<group>[^']*)':(?P<options>.*)", _no_choice),
    (r"Could not override '(?P<key>[^\n]*)'\.\s+To append to your config use \+(?P<typed>.*)", _no_key),
    (r"Could not override '(?P<key>[^\n]*)'\.\s+Did you mean to override (one of )?(?P<places>[^?]*)\?", _elsewhere),
    (
        r"Could not override '(?P<key>[^\n]*)'\. No match.*default list use \+(?P<typed>.*)",
        "{typed}: this command has no '{key}' to choose; " + _HELP,
    ),
    (
        r"Could not delete (from config\. )?'(?P<key>[^\n]*?)'",
        "~{key}: there is no such key to take out; " + _HELP,
    ),
    (
        r"Could not append to config\. An item is already at '(?P<key>[^\n]*?)'",
        "+{key}=…: is there already; leave out the +, which adds keys",
    ),
    (
        r"Cannot find primary config '(?P<key>[^\n']*)'",
        "no configuration '{key}' is found: leave out --config-name and --config-path",
    ),
    (
        r"Error merging override (?P<typed>.*)",
        "{typed}: this key takes a value of another kind (single, list or mapping); --cfg job shows it",
    ),
    (r"Missing mandatory value: (?P<key>[\w.]+)", "no value for {key}: give it on the command line, {key}=…"),
    (r"Error resolving interpolation '(?P<keys>[^']*)', possible interpolation keys", _several),
)


def _interpolation(error: OmegaConfBaseException, text: str) -> str | None:
    """What stands behind ``${…}`` and cannot be looked up, with the key that holds it."""
    first = text.strip().splitlines()[0] if text.strip() else ""
    if "nterpolation" not in first or not error.full_key:
        return None
    return f"{error.full_key}: {shown(first, 150)}; ${{…}} takes another key's value, write \\${{…}} for the characters"
