"""Loggers that show an evaluation too: the base-against-unlearned table, the before/after animation, the plots."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from hmu.errors import ConfigError
from hmu.evaluation.results import Results
from hmu.report.numbers import Numbers
from hmu.report.text import headline, markdown

PLOTS = "*.png"


class WandbReport(WandbLogger):
    """Weights & Biases, one of its runs per run folder.

    All loggers of one run folder (one per training stage, one for the evaluation) write to the same run; the next run
    folder of a sweep, in the same process, begins a new one.

    ``save_dir``: the run folder, whose path decides the id; ``offline``: upload nothing now.
    """

    def __init__(self, save_dir: str | Path, project: str, name: str | None, offline: bool, **options: Any) -> None:
        folder = str(Path(save_dir).resolve())
        key = hashlib.sha256(folder.encode()).hexdigest()[:16]
        super().__init__(save_dir=folder, id=key, project=project, name=name, offline=offline, **options)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run of this folder; ConfigError when it cannot be started (not logged in, no network)."""
        import wandb

        if self._experiment is None and wandb.run is not None:
            if wandb.run.id == self._id:
                self._experiment = wandb.run
            else:
                wandb.finish()
        try:
            return super().experiment
        except wandb.Error as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"logger=wandb: {reason}; log in with 'wandb login', or set logger.offline=true"
            ) from error

    @rank_zero_only
    def log_report(self, results: Results, folder: Path) -> None:
        """Log table, sentence, the animations and plots of the run folder's ``samples/``, and end the run."""
        import wandb

        columns, rows = side_by_side(results)
        shown: dict[str, Any] = {"report/table": wandb.Table(columns=list(columns), data=rows)}
        for path in sorted((folder / "samples").glob("*.gif")):
            shown[f"report/{path.stem}"] = wandb.Video(str(path), format="gif")
        for path in sorted((folder / "samples").glob(PLOTS)):
            shown[f"report/{path.stem}"] = wandb.Image(str(path))
        run = self.experiment
        run.log(shown)
        run.summary["headline"] = headline(results)
        for row in results.rows:
            if math.isfinite(row.value):
                run.summary["/".join(filter(None, (row.model, row.set, row.metric, row.label)))] = row.value
        run.finish()
        self._experiment = None


class TensorBoardReport(TensorBoardLogger):
    """TensorBoard, with the report as text and the plots as images (it has no place for a GIF)."""

    @rank_zero_only
    def log_report(self, results: Results, folder: Path) -> None:
        """Log the report and the plots."""
        import numpy as np
        from PIL import Image

        writer = self.experiment
        writer.add_text("report", markdown(results))
        for path in sorted((folder / "samples").glob(PLOTS)):
            with Image.open(path) as image:
                writer.add_image(f"report/{path.stem}", np.asarray(image.convert("RGB")), dataformats="HWC")
        writer.close()


def side_by_side(results: Results) -> tuple[list[str], list[list[str | float | None]]]:
    """Columns and rows of plain values: one row per set and metric, the models side by side with their intervals."""
    numbers = Numbers(results.rows)
    columns = ["set", "metric", "label", "direction", "n", "repeats"]
    columns += [f"{model}{part}" for model in numbers.models for part in ("", " low", " high")]
    table: list[list[str | float | None]] = []
    for key in dict.fromkeys(row.key for row in results.rows):
        first = numbers.first(key)
        line: list[str | float | None] = [*key, first.direction, first.n, first.repeats]
        for row in (numbers.get(model, *key) for model in numbers.models):
            line += [None] * 3 if row is None else [row.value, row.low, row.high]
        table.append(line)
    return columns, table
