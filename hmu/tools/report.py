"""Compare any runs:  ``python -m hmu.tools.report outputs/sweeps/<sweep> [more folders] [published=…]``.

Writes one page (``report.html``: the front of forget against keep, its knee, links to the runs' own reports), the same
as Markdown and LaTeX, and the numbers as CSV. Runs that were interrupted or broken are listed with the reason.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hmu.app import main
from hmu.command_line import quoted
from hmu.errors import ConfigError, DataError, shown
from hmu.outputs import join_folder
from hmu.progress import phase
from hmu.values import Keys as Declared
from hmu.values import Paths, Place

log = logging.getLogger(__name__)
FILES = ("runs.csv", "rows.csv", "table.md", "table.tex", "report.html")


class Keys(Declared):
    """What ``configs/report.yaml`` holds."""

    paths: Paths
    runs: str | Sequence[str]
    out: Place | None
    seeds: bool
    forget: str | None
    keep: str | None
    columns: Sequence[str] | None


def run(config: DictConfig) -> Path:
    """Read the runs and write the report; returns its folder."""
    from hmu.report.comparison import build_report, verdict
    from hmu.report.comparison_files import write_report
    from hmu.report.published import Published

    folders = [config.runs] if isinstance(config.runs, str) else list(config.runs)
    if not folders:
        raise ConfigError("no folder of runs is given: python -m hmu.tools.report outputs/sweeps/…")
    out = _place(config, folders)
    place = join_folder(out, "out", "report", FILES)
    published: Any = OmegaConf.to_container(config.published) if config.get("published") else None
    with phase("reading runs"):
        report = build_report(
            [Path(folder) for folder in folders],
            seeds=bool(config.seeds),
            forget=config.forget,
            keep=config.keep,
            columns=list(config.columns or ()),
            published=Published.parse(published) if published else None,
        )
    place.begin(FILES)
    with phase("report"):
        write_report(report, out)
    place.finish()
    for front in report.fronts:
        log.info("%s: %s", " · ".join(front.task), verdict(front))
    log.info("%d runs, %d of them without numbers: %s", len(report.runs), len(report.unmeasured), out / "report.html")
    return out


def _place(config: DictConfig, folders: Sequence[str]) -> Path:
    if config.out is not None:
        return Path(config.out)
    if len(folders) == 1:
        if Path(folders[0]).is_file():
            raise DataError(f"runs={shown(folders[0])} is a file: give run folders, or a folder above them")
        return Path(folders[0]) / "report"
    return Path(config.paths.output) / "reports" / time.strftime("%Y-%m-%d_%H-%M-%S")


def overrides(words: Sequence[str]) -> list[str]:
    """The command line as Hydra takes it: words that are folders become ``runs=[…]``, quoted.

    A folder is what exists as one, or has no ``=`` in it; names of sweep folders hold ``=`` and commas themselves.
    """
    folders = [w for w in words if not w.startswith("-") and (Path(w).is_dir() or "=" not in w)]
    rest = [word for word in words if word not in folders]
    if not folders:
        return rest
    return [*rest, f"runs=[{','.join(map(quoted, folders))}]"]


if __name__ == "__main__":
    sys.argv[1:] = overrides(sys.argv[1:])
    main("report", run, Keys, sweeps=False)
