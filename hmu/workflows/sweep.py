"""One table per sweep: a Hydra callback that collects what the runs of a multirun have measured."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)

#: the columns: what was forgotten, what was kept, on the unlearned model and on its base
COLUMNS = (
    ("forget", "detector_rate", "concept"),
    ("paraphrase", "detector_rate", "concept"),
    ("implicit", "detector_rate", "concept"),
    ("neighbours", "detector_rate", None),
    ("retain", "detector_rate", None),
    ("retain", "fid", None),
    ("retain", "mm_dist", None),
)


class SweepTable(Callback):
    """Writes ``sweep.csv`` and ``sweep.md`` into the sweep's folder when its last run has ended."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra; runs that failed or were interrupted are listed as such."""
        folder = Path(config.hydra.sweep.dir)
        if folder.is_dir():
            write_table(folder)


def write_table(folder: Path) -> list[dict[str, str]]:
    """Collect the runs below ``folder`` into ``sweep.csv`` and ``sweep.md``; returns the table's rows."""
    from hmu.run import write_text

    rows = [_row(run, folder) for run in sorted(p.parent for p in folder.rglob("run.json"))]
    if not rows:
        return []
    names = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "sweep.csv", text.getvalue())
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(row.get(name, "") for name in names) + " |" for row in rows]
    write_text(folder / "sweep.md", "\n".join(lines) + "\n")
    log.info("%d runs in one table: %s\n%s", len(rows), folder / "sweep.md", "\n".join(lines))
    return rows


def _row(run: Path, folder: Path) -> dict[str, str]:
    import json

    from hmu.evaluation.results import Results

    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    overrides = run / ".hydra" / "overrides.yaml"
    chosen = [str(item) for item in OmegaConf.load(overrides)] if overrides.is_file() else []
    row = {
        key: value
        for key, _, value in (item.lstrip("+").partition("=") for item in chosen)
        if not key.startswith("paths.")
    }
    row["run"] = run.relative_to(folder).as_posix()
    row["status"] = str(record.get("status"))
    row["seconds"] = f"{sum(record.get('timings', {}).values()):.0f}"
    if not (run / "metrics.json").is_file():
        return row
    results = Results.load(run / "metrics.json")
    for set_, metric, label in COLUMNS:
        concept = str(results.context["concept"]) if label else None
        base, ours = (results.get(model, set_, metric, concept) for model in ("base", "unlearned"))
        if ours is not None and base is not None:
            row[f"{set_} {metric}"] = f"{ours.value:.3g} (base {base.value:.3g})"
    return row
