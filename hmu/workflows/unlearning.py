"""``unlearn.py``: from a base and a concept to an edit."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from hmu import processes
from hmu.checkpoints.safe import first_nonfinite
from hmu.console import near
from hmu.devices import moved
from hmu.errors import ConfigError, shown
from hmu.methods.base import EditMethod, TrainedMethod
from hmu.methods.edit import Edit
from hmu.progress import phase
from hmu.run import RunRecord
from hmu.training.batches import check_batch
from hmu.training.unlearning import run_method
from hmu.workflows.basis import warn_of_no_basis, warn_of_strange_data
from hmu.workflows.job import Job
from hmu.workflows.outlook import announce_unlearning
from hmu.workflows.trainer import check_trainer_of, logger_for, trainer_arguments

log = logging.getLogger(__name__)


class Unlearning(Job):
    """A job that ends in an edit."""

    def check(self) -> None:
        """Refuse whatever cannot work, the cheapest first, before anything that takes long."""
        self.seed_everything()
        check_trainer_of(self.config)
        _ = self.method
        if self.config.evaluate:
            _ = self.suite  # its numbers are checked before anything is read
        _ = self.partition
        self.check_match()
        if self.config.evaluate:
            self.check_measurable()  # a suite that cannot run is said now, not after the training
        warn_of_strange_data(self.backbone, self.source)
        if isinstance(self.method, TrainedMethod):
            forget, retain = len(self.sides.forget), len(self.sides.retain)
            check_batch("method.batch_size", self.method.batch_size, max(forget, retain))
            self.method.total_steps(forget)

    def begin(self) -> RunRecord:
        """Open the record, write who forgets and who is retained, print the plan, ask the base for the concept."""
        sides = self.sides
        self.run = RunRecord(self.folder, self.config)
        if self.run.writes:
            sides.save(self.folder / "partition.json")
            sides.save_audit(self.folder / "audit.csv")
        self.run.note(base=self.base, provenance=self.backbone.provenance(), data=self.source.fingerprint)
        self.run.note(clips={"forget": len(sides.forget), "retain": len(sides.retain), "skipped": len(sides.skipped)})
        self.run.stage("prepare")
        announce_unlearning(self)
        if self.run.writes and self.config.evaluate:
            with phase("asking the base"):
                warn_of_no_basis(self)
            self.run.stage("ask base")
        return self.run

    def learn(self) -> Edit:
        """Run the method on the training clips; the backbone is its old self afterwards.

        Raises:
            ConfigError: a training that diverges, equations without a solution, weights that are no numbers.
        """
        if isinstance(self.method, TrainedMethod):
            logger = {"logger": logger_for(self.config), "default_root_dir": str(self.folder)}
            arguments = {**trainer_arguments(self.config), **logger}
            edit = run_method(self.method, self.backbone, *self.clips, arguments, self.seed, concept=self.concept.name)
        else:
            edit = self._solve()
        bad = first_nonfinite(edit.tensors)
        if bad is not None:
            advice = "bring the method's numbers nearer to those of its configuration file"
            if isinstance(self.method, TrainedMethod):
                advice = f"lower method.lr (now {self.method.lr:g})"
            raise ConfigError(
                f"method={self.method.name} ended with weights that are not finite ('{bad}'); not saved: {advice}"
            )
        processes.leave()
        return edit

    def _solve(self) -> Edit:
        """The edit of a method without training, computed on the trainer's device."""
        assert isinstance(self.method, EditMethod)  # Job.method has looked
        generator = torch.Generator().manual_seed(self.seed)
        try:
            with moved(self.backbone, self.trainer_device), phase("editing"):
                return self.method.edit(self.backbone, *self.clips, self.concept, generator)
        except LinAlgError as error:
            raise ConfigError(
                f"method={self.method.name}: its equations have no solution in these numbers ({shown(error)}); "
                "raise method.regulariser or method.adversary_ridge"
            ) from error

    def save(self, edit: Edit) -> Path:
        """Write the edit into the run folder, with what the method found."""
        folder = self.folder / "edit"
        edit.save(folder)
        if isinstance(self.method, EditMethod):
            self.method.save_findings(self.folder)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        self.run.stage("unlearn")
        self.run.note(edit={"bytes": size, "settings": edit.settings}, partition=self.sides.hash)
        log.info("edit saved: %s (%.1f MB)", near(folder), size / 1e6)
        return folder
