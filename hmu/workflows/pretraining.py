"""``train.py``: the stages of a backbone or an evaluator, into a model folder that later commands load."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from hmu.backbones.trainable import Trainable
from hmu.build import built_class, instantiate
from hmu.checkpoints.safe import refuse_nonfinite
from hmu.console import near
from hmu.data.divide import partition_by_concept
from hmu.data.partition import Partition
from hmu.errors import CheckpointError, ConfigError, shown
from hmu.overrides import split
from hmu.run import RunRecord
from hmu.training.recipe import Recipe
from hmu.workflows.job import Job
from hmu.workflows.outlook import announce_training
from hmu.workflows.resume import Interrupted, check_data, interrupted, take_over
from hmu.workflows.stage import Training
from hmu.workflows.trainer import check_trainer_of

log = logging.getLogger(__name__)


class Pretraining(Job):
    """A job that ends in a model."""

    @property
    def kind(self) -> str:
        """What is trained: ``backbone``, or ``evaluator`` if one is chosen."""
        return "evaluator" if self.config.evaluator else "backbone"

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """How each stage is trained; what is wrong with a recipe is said with the key that the user gave."""
        recipes = {}
        for stage, node in (self.config.recipes.get(self.kind) or {}).items():
            try:
                recipes[str(stage)] = instantiate(node, _convert_="all")
            except ConfigError as error:
                raise ConfigError(str(error).replace("recipe.", f"recipes.{self.kind}.{stage}.")) from error
        return recipes

    @cached_property
    def before(self) -> Interrupted | None:
        """The interrupted run that ``resume`` names."""
        return interrupted(self.config)

    @cached_property
    def init(self) -> Path | None:
        """The model folder that training begins with; None: fresh weights."""
        if self.config.init is None:
            return None
        folder = Path(str(self.config.init))
        folder = folder / "model" if (folder / "model").is_dir() else folder
        if not folder.is_dir():
            raise CheckpointError(f"init: '{self.config.init}' is not a folder; give a run folder or a model folder")
        return folder

    @cached_property
    def model(self) -> Trainable:
        """The backbone or evaluator that is trained, with the weights that it begins with."""
        for name, value in map(split, self.words):
            if name == f"{self.kind}.checkpoint" and value != "null":
                word = f"{name}={value}"
                raise ConfigError(
                    f"{shown(word)}: train.py begins with fresh weights; init=<folder> starts from others"
                )
        checkpoint = self.init if self.before is None else self.before.model or self.init
        given = None if checkpoint is None else str(checkpoint)
        model: Trainable = instantiate(self.config[self.kind], checkpoint=given)
        refuse_nonfinite(model.state_dict(), str(given))
        if given is None:
            captions = [caption for own in self.source.clips("train").captions for caption in own]
            model.prepare(self.source.mean, self.source.std, captions)
        return model

    @cached_property
    def stages(self) -> list[str]:
        """The stages to train, in order."""
        return chosen_stages(self.config.stage, self.model.stages, self.recipes)

    @cached_property
    def side(self) -> Partition | None:
        """The concept's partition, of which one side is for training and validation; None where all clips are."""
        if self.config.partition == "all":
            return None
        return partition_by_concept(self.source, "train+val", self.concept)

    @cached_property
    def ids(self) -> set[str] | None:
        """The clips to train on; None: all."""
        return None if self.side is None else set(getattr(self.side, self.config.partition))

    @cached_property
    def trainings(self) -> list[Training]:
        """One for each stage."""
        facts = self.source, self.ids, self.kind
        return [Training(self.config, self.model, stage, self.recipes[stage], *facts) for stage in self.stages]

    def check(self) -> None:
        """Refuse whatever cannot work, the cheapest first."""
        self.seed_everything()
        check_trainer_of(self.config)
        by_class = getattr(built_class(str(self.config[self.kind].get("_target_"))), "stages", ())
        chosen_stages(self.config.stage, by_class, self.recipes)  # where the class knows, before anything is built
        _ = self.before, self.init
        if self.before is not None:
            check_data(self.before, self.source.fingerprint, self.source.name)
        _ = self.source, self.model, self.stages, self.side, self.trainings

    def begin(self) -> RunRecord:
        """Open the record, take over what an interrupted run has finished, print the plan."""
        self.run = RunRecord(self.folder, self.config)
        self.run.note(data=self.source.fingerprint)
        if self.before is not None:
            if self.run.writes:
                take_over(self.before, self.folder)
            self.run.data["timings"].update(self.before.timings)
            self.run.note(resumed=str(self.before.folder))
        if self.side is not None:
            if self.run.writes:
                self.side.save(self.folder / "partition.json")
            counts = {"forget": len(self.side.forget), "retain": len(self.side.retain)}
            facts = {"side": self.config.partition, "hash": self.side.hash, **counts}
            self.run.note(concept=self.side.concept, partition=facts)
        steps = {training.stage: training.total for training in self.trainings}
        announce_training(self, self.name(self.kind) or self.kind, steps, self.clip_count)
        return self.run

    @cached_property
    def clip_count(self) -> int:
        """How many clips are trained on."""
        return len(self.source.clips("train", self.ids))

    def train(self, training: Training) -> None:
        """Train one stage and save the model; a stage that the interrupted run had finished is left as it is."""
        stage = training.stage
        if self.before is not None and self.before.finished(stage):
            log.info("stage '%s' was finished in %s", stage, self.before.folder)
            return
        self.seed_everything()  # stages one by one, each with init=, are the same as all of them in one command
        steps = training.run(self.folder, None if self.before is None else self.before.checkpoint(stage))
        if self.run.writes:
            self.model.save_pretrained(self.folder / "model")
        self.run.note(steps={**self.run.data.get("steps", {}), stage: steps})
        self.run.stage(f"train_{stage}")

    def finish(self) -> None:
        """Mark the run as complete."""
        self.run.note(model="model", stages=self.stages, clips=self.clip_count)
        self.run.finish()
        if self.run.writes:
            log.info("trained %s; the model is in %s", ", ".join(self.stages), near(self.folder / "model"))


def chosen_stages(stage: str, known: Sequence[str], recipes: Mapping[str, Recipe]) -> list[str]:
    """``stage`` or, for ``all``, every known one."""
    if not known:
        return []
    stages = list(known) if stage == "all" else [stage]
    unknown = [s for s in stages if s not in known]
    if unknown:
        raise ConfigError(f"stage '{shown(unknown[0])}' does not exist: there are {', '.join(known)}, or all")
    missing = [s for s in stages if s not in recipes]
    if missing:
        raise ConfigError(f"no recipe for stage '{missing[0]}': add it to configs/recipe/<model>.yaml")
    return stages
