"""Where tools write: nothing of the user's is overwritten, and ``overwrite=true`` gives up what the same tool wrote.

Every folder that a tool has written into holds a list of those files (:mod:`hmu.written`), each with its size and
SHA-256 and the tool's name. A file that is not in the list, or that was changed since, belongs to the user: it stays
where it is, and a call that would have to replace it is refused before its work.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hmu.errors import ConfigError, shown
from hmu.written import LIST, NOTHING, Output, is_there, read_list


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
    folder: Path, key: str, tool: str, *, overwrite: bool, older: Callable[[], Iterable[str] | None] = lambda: None
) -> Output:
    """A folder for one call: new, empty, or (with ``overwrite``) that of an earlier call of the same tool.

    Args:
        key: names the folder in messages. older: files of calls before there was a list; None where nothing tells.

    Raises:
        ConfigError: the folder is a file or below one, holds anything without ``overwrite``, holds nothing of the
            tool's, or a file of the tool's that was changed since.
    """
    check_place(folder, key)
    if is_there(folder) and not folder.is_dir():
        raise ConfigError(f"{key}={shown(folder, 120)} is a file, expected a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return Output(folder, key, tool, whole=True)
    if not overwrite:
        raise ConfigError(
            f"{key}={shown(folder, 120)} is not empty: choose another folder or add overwrite=true; {NOTHING}"
        )
    output = Output(folder, key, tool, read_list(folder), whole=True)
    if not (folder / LIST).is_file():
        output.files = {name: {"by": tool} for name in older() or ()}
    if not any(facts["by"] == tool for facts in output.files.values()):
        raise ConfigError(
            f"{key}={shown(folder, 120)} holds files that this tool did not write (none is in {LIST}): "
            f"choose another folder; {NOTHING}"
        )
    output.check(output.own)
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
    folder = paths[0].parent
    for path in paths:
        check_place(path, key)
        if path.is_dir():
            raise ConfigError(f"{key}={shown(path, 120)} is a folder, expected a name for a file")
        if is_there(path) and not overwrite:
            raise ConfigError(
                f"{key}: '{shown(path, 120)}' exists: choose another place or add overwrite=true; {NOTHING}"
            )
    output = Output(folder, key, tool, read_list(folder) if folder.is_dir() else {})
    output.check(path.name for path in paths)
    return output


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
        files[path.name] = {"by": tool}
        Output(path.parent, "out", tool, files).finish()
