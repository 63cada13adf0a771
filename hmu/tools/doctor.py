"""What a data set still needs:  ``python -m hmu.tools.doctor dataset=humanml3d``.

Exit code 0 if everything (but the optional) is there, else 1. The list is data: ``requirements`` in its YAML.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from hmu.app import main
from hmu.errors import ConfigError
from hmu.values import Common

if TYPE_CHECKING:
    from hmu.data.dataset import DatasetSource

KEYS = {"path", "kind", "what", "who", "for", "pattern", "count", "optional", "role"}


class Keys(Common):
    """What ``configs/doctor.yaml`` holds."""

    deep: bool


@dataclass(frozen=True)
class Finding:
    """One requirement and how it stands: ``state`` is ``ok``, ``MISSING``, ``EMPTY``, ``PARTLY`` or ``optional``."""

    state: str
    path: str
    detail: str
    what: str
    who: str
    purpose: str

    @property
    def fine(self) -> bool:
        """Whether nothing has to be done."""
        return self.state in ("ok", "optional")


def expand(path: str) -> list[str]:
    """``a/{x,y}.npy`` -> ``a/x.npy``, ``a/y.npy``."""
    braces = re.search(r"\{([^{}]*)\}", path)
    if not braces:
        return [path]
    return [p for part in braces[1].split(",") for p in expand(path[: braces.start()] + part + path[braces.end() :])]


def check(requirement: Mapping[str, Any]) -> Finding:
    """How one requirement stands; ConfigError if it lacks a key or has an unknown one."""
    unknown, missing = set(requirement) - KEYS, {"path", "what", "who", "for"} - set(requirement)
    if unknown or missing:
        raise ConfigError(f"a requirement has unknown keys {sorted(unknown)} or lacks {sorted(missing)}")
    if requirement.get("kind", "file") == "folder":
        state, detail = _folder(
            Path(requirement["path"]), requirement.get("pattern", "*"), int(requirement.get("count", 1))
        )
    else:
        state, detail = _files(expand(str(requirement["path"])))
    if state != "ok" and requirement.get("optional", False):
        state = "optional"
    return Finding(state, str(requirement["path"]), detail, requirement["what"], requirement["who"], requirement["for"])


def _folder(path: Path, pattern: str, count: int) -> tuple[str, str]:
    if not path.is_dir():
        return "MISSING", "no such folder"
    files = sum(1 for _ in path.glob(pattern))
    if not files:
        return "EMPTY", f"no {pattern} in it"
    return ("ok", f"{files} files") if files >= count else ("PARTLY", f"{files} of {count} files")


def _files(paths: Sequence[str]) -> tuple[str, str]:
    absent = [Path(p).name for p in paths if not Path(p).is_file()]
    empty = [Path(p).name for p in paths if Path(p).is_file() and Path(p).stat().st_size == 0]
    if absent:
        return ("MISSING" if len(absent) == len(paths) else "PARTLY"), f"no {', '.join(absent)}"
    return ("EMPTY", f"empty: {', '.join(empty)}") if empty else ("ok", "")


def table(name: str, findings: Sequence[Finding]) -> str:
    """The findings as text: one line each, and for what is missing where it comes from and what it is for."""
    lines = [f"data set '{name}':"]
    for f in findings:
        lines.append(f"  {f.state:8} {f.path}" + (f"  ({f.detail})" if f.detail else ""))
        if f.state != "ok":
            lines += [f"           what  {f.what}", f"           from  {f.who}", f"           for   {f.purpose}"]
    todo = sum(not f.fine for f in findings)
    lines.append(
        "nothing to bring" if not findings else "everything is there" if not todo else f"{todo} thing(s) to bring"
    )
    return "\n".join(lines) + "\n"


def look_inside(source: DatasetSource) -> str:
    """Open every file, and the statistics; what was found, in lines, or a DataError that lists what cannot be used."""
    from hmu.data.soundness import counted

    source.prepare()
    for name in ("mean", "std"):
        if (source.root / f"{name.title()}.npy").exists():
            getattr(source, name)
    ids, used = source.pack.ids, len(source.used_ids)
    opened = f"opened {len(ids)} clips, {source.pack.offsets[-1]} frames: all sound"
    if used == len(ids):
        return f"{opened}, all of them are used\n"
    return f"{opened}, but only {used} of {len(ids)} will ever be used; never: {counted(source.unused)}\n"


def run(config: DictConfig) -> list[Finding]:
    """Print the table; exit code 1 if anything is missing."""
    requirements = OmegaConf.to_container(config.dataset.requirements, resolve=True)
    findings = [check(r) for r in requirements]  # type: ignore[arg-type, union-attr]
    sys.stdout.write(table(config.dataset.name, findings))
    fine = all(f.fine for f in findings)
    if config.deep:
        from hmu.build import instantiate

        sys.stdout.write(look_inside(instantiate(config.dataset, strict=True)))
    if not fine:
        sys.exit(1)
    return findings


if __name__ == "__main__":
    main("doctor", run, Keys, sweeps=False)
