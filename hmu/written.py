"""The list of what tools wrote into a folder: whose each file is, and whether it is still as it was written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from hmu.documents import read_json
from hmu.errors import ConfigError, HmuError, shown

LIST = ".hmu-files.json"
NOTHING = "nothing was changed"
Facts = dict[str, Any]  #: of a file: ``by`` (the tool), and once it is complete ``size`` and ``sha256``


@dataclass
class Output:
    """A folder that ``tool`` may write into, and its files of earlier calls.

    Attributes:
        folder: may not exist yet. key: of the configuration, for messages. tool: its name.
        files: facts by name relative to ``folder``, of all tools.
        whole: a call gives up all that earlier ones have written there, not only files of the same names.
    """

    folder: Path
    key: str
    tool: str
    files: dict[str, Facts] = field(default_factory=dict)
    whole: bool = False

    @property
    def own(self) -> list[str]:
        """Files of earlier calls that this one gives up and that are still there."""
        mine = (name for name, facts in self.files.items() if self.whole and facts["by"] == self.tool)
        return [name for name in mine if is_there(self.folder / name)]

    def check(self, names: Iterable[str]) -> None:
        """Refuse to replace what this tool did not write as it is now.

        Raises:
            ConfigError: naming the first such file.
        """
        for name in names:
            path = self.folder / name
            if not is_there(path):
                continue
            facts = self.files.get(name, {})
            if facts.get("by") != self.tool:
                why = "was not written by this tool"
            elif not _inside(path, self.folder) or not _unchanged(path, facts):
                why = "was changed after this tool wrote it"
            else:
                continue
            raise ConfigError(
                f"{self.key}: '{shown(path, 120)}' {why} (see {LIST}): move it away or choose another place; {NOTHING}"
            )

    def begin(self, names: Iterable[str]) -> None:
        """Remove the files of earlier calls that are not among ``names``, and list ``names`` as about to be written.

        Raises:
            ConfigError: as :meth:`check`; nothing has changed then.
        """
        names = list(names)
        self.check({*self.own, *names})
        self._remove(set(self.own) - set(names))
        self._list(names)

    def finish(self) -> None:
        """Note what :meth:`begin` has listed, now that all is written; files that were never made leave the list."""
        pending = [name for name, facts in self.files.items() if len(facts) == 1 and facts["by"] == self.tool]
        for name in pending:
            if is_there(self.folder / name):
                self.files[name] = _facts(self.folder / name, self.tool)
            else:
                del self.files[name]
        self._save()

    def replace_with(self, work: Path) -> None:
        """Move the content of the finished folder ``work``, on the same disk, to its place.

        Where nobody else keeps anything the whole folder is renamed at once, else file by file beside what stays.

        Raises:
            ConfigError: as :meth:`check`; nothing has changed then.
        """
        names = sorted(_relative(work))
        self.check({*self.own, *names})
        finished = Output(work, self.key, self.tool, {name: {"by": self.tool} for name in names})
        finished.finish()
        if set(_relative(self.folder)) - {LIST} <= set(self.own):
            _swap(work, self.folder)
            self.files = finished.files
        else:
            self._merge(work, names)
            self.finish()

    def _merge(self, work: Path, names: Sequence[str]) -> None:
        old = set(self.own)
        self._list(names)  # both, so that a call after a crash may go on
        self._remove(old - set(names))
        for name in names:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(work / name, self.folder / name)

    def _list(self, names: Iterable[str]) -> None:
        self.files |= {name: {"by": self.tool} for name in names}
        self._save()

    def _remove(self, names: Iterable[str]) -> None:
        for name in list(names):
            path = self.folder / name
            path.unlink(missing_ok=True)
            self.files.pop(name, None)
            for parent in path.parents:
                if parent == self.folder or any(parent.iterdir()):
                    break
                parent.rmdir()

    def _save(self) -> None:
        there = {name: facts for name, facts in self.files.items() if len(facts) == 1 or is_there(self.folder / name)}
        _write(self.folder / LIST, json.dumps({"schema": 1, "files": there}, indent=0, ensure_ascii=False) + "\n")


def read_list(folder: Path) -> dict[str, Facts]:
    """The list of a folder; empty where there is none.

    Raises:
        ConfigError: it is damaged; what it listed then counts as the user's.
    """
    if not is_there(folder / LIST):
        return {}
    try:
        files = read_json(folder / LIST)["files"]
        if not all(isinstance(facts["by"], str) and _plain(name) for name, facts in files.items()):
            raise ValueError
    except (HmuError, ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"'{folder / LIST}' is damaged: choose another folder; {NOTHING}") from None
    return dict(files)


def _plain(name: str) -> bool:
    """Whether a listed name stays below its folder, as far as the name tells."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not PurePosixPath(name).is_absolute() and ".." not in parts and "\0" not in name


def is_there(path: Path) -> bool:
    """Whether anything has that name, a broken link too."""
    return os.path.lexists(path)


def _inside(path: Path, folder: Path) -> bool:
    return not path.is_symlink() and path.resolve().is_relative_to(folder.resolve())


def _unchanged(path: Path, facts: Facts) -> bool:
    if not path.is_file():
        return False
    if "sha256" not in facts:  # listed by a call that was cut short
        return True
    return path.stat().st_size == facts["size"] and _sha256(path) == facts["sha256"]


def _facts(path: Path, tool: str) -> Facts:
    return {"by": tool, "size": path.stat().st_size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _relative(folder: Path) -> Iterator[str]:
    """Names of all files below ``folder``, links and empty folders included, as the list writes them."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_symlink() or not path.is_dir() or not any(path.iterdir()):
            yield path.relative_to(folder).as_posix()


def _swap(work: Path, target: Path) -> None:
    """Rename a finished folder to its place; an older one steps aside first and is removed last."""
    old = None
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent)) / target.name
        target.rename(old)
    try:
        work.rename(target)
    except OSError:
        if old is not None:
            old.rename(target)
        raise
    if old is not None:
        shutil.rmtree(old.parent, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    """Write atomically, without torch, which :mod:`hmu.run` would import."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
