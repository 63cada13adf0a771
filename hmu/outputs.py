"""Where tools write: nothing of the user's is overwritten, and ``overwrite=true`` gives up what the same tool wrote.

Every folder that a tool has written into holds a list of those files, each with its size and SHA-256 and the tool's
name. A file that is not in the list, or that was changed since, belongs to the user: it stays where it is, and a call
that would have to replace it is refused before its work.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from hmu.documents import read_json, sha256, write_json
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
    def given_up(self) -> set[str]:
        """Files of earlier calls that this one replaces or removes."""
        own = {name for name, facts in self.files.items() if self.whole and facts["by"] == self.tool}
        return {name for name in own if os.path.lexists(self.folder / name)}

    def check(self, names: Iterable[str]) -> None:
        """Refuse to replace what this tool did not write as it is now.

        Raises:
            ConfigError: naming the first such file.
        """
        for name in names:
            path, facts = self.folder / name, self.files.get(name, {})
            if not os.path.lexists(path):
                continue
            if facts.get("by") != self.tool:
                why = "was not written by this tool"
            elif not _as_written(path, self.folder, facts):
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
        self.check({*self.given_up, *names})
        for name in self.given_up - set(names):
            (self.folder / name).unlink()
            del self.files[name]
            for parent in (self.folder / name).parents:
                if parent == self.folder or any(parent.iterdir()):
                    break
                parent.rmdir()
        self._list({name: {"by": self.tool} for name in names})

    def finish(self) -> None:
        """Note what :meth:`begin` has listed, now that all is written; files that were never made leave the list."""
        pending = [name for name, facts in self.files.items() if facts == {"by": self.tool}]
        paths = {name: self.folder / name for name in pending if os.path.lexists(self.folder / name)}
        self.files = {name: facts for name, facts in self.files.items() if name in paths or name not in pending}
        self._list({n: {"by": self.tool, "size": p.stat().st_size, "sha256": sha256(p)} for n, p in paths.items()})

    def replace_with(self, work: Path) -> None:
        """Move the content of the finished folder ``work``, on the same disk, to its place.

        Where nobody else keeps anything the whole folder is renamed at once, else file by file beside what stays.

        Raises:
            ConfigError: as :meth:`check`; nothing has changed then.
        """
        names = _names(work)
        self.check({*self.given_up, *names})
        if set(_names(self.folder)) - {LIST} <= self.given_up:
            finished = Output(work, self.key, self.tool, {name: {"by": self.tool} for name in names})
            finished.finish()
            _swap(work, self.folder)
            self.files = finished.files
            return
        self.begin(names)
        for name in names:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(work / name, self.folder / name)
        self.finish()

    def _list(self, files: dict[str, Facts]) -> None:
        self.files |= files
        write_json(self.folder / LIST, {"schema": 1, "files": self.files})


def read_list(folder: Path) -> dict[str, Facts]:
    """The list of a folder; empty where there is none.

    Raises:
        ConfigError: it is damaged; what it listed then counts as the user's.
    """
    if not os.path.lexists(folder / LIST):
        return {}
    try:
        files = read_json(folder / LIST)["files"]
        if not all(isinstance(facts["by"], str) and _stays_below(name) for name, facts in files.items()):
            raise ValueError
    except (HmuError, ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"'{folder / LIST}' is damaged: choose another folder; {NOTHING}") from None
    return dict(files)


def check_place(path: Path, key: str) -> Path:
    """``path``, if a file or folder of that name can be made.

    Raises:
        ConfigError: it holds a zero byte, a name too long for the disk, or lies below a file.
    """
    try:
        path.stat()
    except (FileNotFoundError, PermissionError):
        return path
    except NotADirectoryError:
        file = next(part for part in path.parents if part.exists())
        raise ConfigError(f"{key}={shown(path, 120)}: '{shown(file, 80)}' is a file, expected a folder") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{key}={shown(path, 80)}: no name for a file or folder ({why})") from None
    return path


def claim_folder(
    folder: Path, key: str, tool: str, *, overwrite: bool, older: Callable[[Path], Iterable[str]] = lambda folder: ()
) -> Output:
    """A folder for one call: new, empty, or (with ``overwrite``) that of an earlier call of the same tool.

    Args:
        key: names the folder in messages. older: files of calls before there was a list.

    Raises:
        ConfigError: the folder is a file or below one, holds anything without ``overwrite``, holds nothing of the
            tool's, or a file of the tool's that was changed since.
    """
    check_place(folder, key)
    if os.path.lexists(folder) and not folder.is_dir():
        raise ConfigError(f"{key}={shown(folder, 120)} is a file, expected a folder")
    output = Output(folder, key, tool, whole=True)
    if not folder.is_dir() or not any(folder.iterdir()):
        return output
    if not overwrite:
        raise ConfigError(
            f"{key}={shown(folder, 120)} is not empty: choose another folder or add overwrite=true; {NOTHING}"
        )
    listed = (folder / LIST).is_file()
    output.files = read_list(folder) if listed else {name: {"by": tool} for name in older(folder)}
    if not any(facts["by"] == tool for facts in output.files.values()):
        raise ConfigError(
            f"{key}={shown(folder, 120)} holds files that this tool did not write (none is in {LIST}): "
            f"choose another folder; {NOTHING}"
        )
    output.check(output.given_up)
    return output


def join_folder(folder: Path, key: str, tool: str, names: Sequence[str]) -> Output:
    """A folder in which a tool renews its own files ``names``, whatever else it holds (the report of a sweep).

    Raises:
        ConfigError: the folder is a file or below one, or a file of those names is not the tool's as it is now.
    """
    check_place(folder / LIST, key)
    output = Output(folder, key, tool, read_list(folder))
    output.check(names)
    return output


def claim_files(paths: Sequence[Path], key: str, tool: str, *, overwrite: bool) -> Output:
    """Files of one folder: new, or (with ``overwrite``) written by an earlier call of the same tool.

    Raises:
        ConfigError: one exists without ``overwrite``, was not written by the tool or changed since, is a folder, or
            its folder is a file.
    """
    for path in paths:
        check_place(path, key)
        if path.is_dir():
            raise ConfigError(f"{key}={shown(path, 120)} is a folder, expected a name for a file")
        if os.path.lexists(path) and not overwrite:
            raise ConfigError(
                f"{key}: '{shown(path, 120)}' exists: choose another place or add overwrite=true; {NOTHING}"
            )
    return join_folder(paths[0].parent, key, tool, [path.name for path in paths])


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """An empty folder on the disk of ``target``, to be filled and moved there; what is left of it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        work.chmod(0o755)
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def refresh(path: Path) -> None:
    """Note a new content of a file that is in its folder's list; of any other, nothing."""
    files = read_list(path.parent)
    if path.name in files:
        tool = files[path.name]["by"]
        Output(path.parent, "out", tool, files | {path.name: {"by": tool}}).finish()


def _stays_below(name: str) -> bool:
    """Whether a listed name stays below its folder, as far as the name tells."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _as_written(path: Path, folder: Path, facts: Facts) -> bool:
    """Whether a file is what its list says; of a call that was cut short the list says nothing of it."""
    if path.is_symlink() or not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        return False
    return "sha256" not in facts or (path.stat().st_size == facts["size"] and sha256(path) == facts["sha256"])


def _names(folder: Path) -> list[str]:
    """All files below ``folder``, links and empty folders included, as the list writes them."""
    paths = sorted(folder.rglob("*")) if folder.is_dir() else []
    return [p.relative_to(folder).as_posix() for p in paths if p.is_symlink() or not p.is_dir() or not any(p.iterdir())]


def _swap(work: Path, target: Path) -> None:
    """Rename a finished folder to its place; an older one steps aside first and is removed last."""
    if not target.exists():
        work.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent)) / target.name
    target.rename(old)
    try:
        work.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old.parent, ignore_errors=True)
