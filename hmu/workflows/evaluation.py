"""``evaluate.py``: what lies behind ``ckpt``, beside its base."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from hmu import processes
from hmu.backbones.base import MotionBackbone
from hmu.devices import device_of
from hmu.methods.applying import applied, difference
from hmu.methods.edit import Edit, fingerprint, load_edit
from hmu.run import RunRecord, continued_folder
from hmu.workflows.basis import warn_of_strange_data
from hmu.workflows.job import Job
from hmu.workflows.outlook import announce_evaluation
from hmu.workflows.parts import build_backbone, check_match
from hmu.workflows.sides import check_lists


class Evaluation(Job):
    """A job that measures a run folder, an edit folder, or an authors' checkpoint."""

    def claim(self) -> Path:
        """A folder of its own; a run that was killed goes on where it was if the same command names its folder."""
        self.folder = continued_folder(self.composed, self.config)
        return self.folder

    @cached_property
    def models(self) -> tuple[MotionBackbone, list[tuple[Edit, float]]]:
        """The base, and what was done to it: an edit, or the difference to an authors' unlearned checkpoint.

        An authors' checkpoint without ``backbone.checkpoint`` beside it is measured alone, as a base.
        """
        config, path, scale = self.config, Path(self.config.ckpt), float(self.config.scale)
        if (path / "edit").is_dir() or (path / "edit.json").is_file():
            return build_backbone(config), [(load_edit(path), scale)]
        if (path / "model" / "config.json").is_file():  # a run of train.py: a model of its own, nothing to compare with
            return build_backbone(config, checkpoint=str(path / "model")), []
        changed = build_backbone(config, checkpoint=str(path))
        if config.backbone.get("checkpoint") is None:  # no base is named: the checkpoint is measured alone
            return changed, []
        base = build_backbone(config)
        if fingerprint(base) == fingerprint(changed):
            return base, []
        return base, [(difference(base, changed, method=path.name, concept=str(config.concept.name)), scale)]

    @cached_property
    def backbone(self) -> MotionBackbone:
        """The base."""
        return self.models[0]

    @cached_property
    def edits(self) -> list[tuple[Edit, float]]:
        """What was done to it, each with its strength."""
        return self.models[1]

    def check(self) -> None:
        """Refuse whatever cannot be measured, the cheapest first."""
        self.seed_everything()
        processes.join()
        device = device_of(self.config.device)
        with applied(self.backbone, self.edits, base=self.base):
            pass  # an edit of another model is refused here, before the data, which may have to be made or packed
        check_lists(self.composed, self.source, str(self.config.suite.split))
        check_match(self.backbone, self.source)
        self.backbone.to(device)
        self.check_measurable()
        warn_of_strange_data(self.backbone, self.source)

    def begin(self) -> RunRecord:
        """Open the record and print the plan."""
        self.run = RunRecord(self.folder, self.config)
        facts = {"data": self.source.fingerprint, "provenance": self.backbone.provenance()}
        self.run.note(base=self.base, measured=str(self.config.ckpt), **facts)
        self.run.stage("prepare")
        announce_evaluation(self, bool(self.edits))
        return self.run
