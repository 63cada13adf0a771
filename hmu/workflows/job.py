"""One job: everything that a configuration names, each part built once, when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import lightning as L
import torch
from omegaconf import DictConfig

from hmu import console, folders
from hmu.backbones.base import MotionBackbone
from hmu.build import instantiate
from hmu.checkpoints.sealed import check_place
from hmu.checkpoints.store import Store
from hmu.data.clips import MotionClips
from hmu.data.concepts import Concept
from hmu.data.dataset import DatasetSource
from hmu.data.partition import Partition
from hmu.devices import moved, of_module, of_trainer
from hmu.errors import ConfigError
from hmu.evaluation.detecting import detector_concepts
from hmu.evaluation.gallery import gallery_split, searched_by
from hmu.evaluation.generation import Model
from hmu.evaluation.sets import Prompting, PromptSet
from hmu.evaluation.suite import Suite
from hmu.evaluators.base import Evaluator
from hmu.methods.base import EditMethod, Method, TrainedMethod
from hmu.methods.edit import fingerprint
from hmu.overrides import choices, typed
from hmu.run import RunRecord
from hmu.workflows.parts import backbone_class, build_backbone, build_evaluator, check_fit, check_match
from hmu.workflows.reference import check_reference, load_reference
from hmu.workflows.refine import RetrievalRefinement
from hmu.workflows.settling import settled
from hmu.workflows.sides import partition


class Job:
    """What the scripts and tools work on, and the one way to it from Python.

    Every part is a cached property: it is built when it is first asked for, checked then, and the same object from then
    on. A part that cannot be says so in one line. A part that is at hand already is given: ``Job(config,
    backbone=model)``.

    Args:
        config: as it was composed (:func:`hmu.compose.composing` does that without a command line).
        parts: objects to use in place of what the configuration names.

    Attributes:
        config: the configuration with what the measured run, the concept and the data set decide.
        choices: options by group, ``backbone``: ``salad_demo``; words: what was typed.
        folder: the run folder, once it is claimed; run: its record, once the work begins.
    """

    folder: Path
    run: RunRecord

    def __init__(self, config: DictConfig, **parts: object) -> None:
        for name in parts:
            if not isinstance(getattr(type(self), name, None), cached_property):
                raise TypeError(f"a job has no part '{name}'")
        self.composed, self.config = config, settled(config)
        self.words, self.choices = tuple(typed()), choices(config)
        vars(self).update(parts)
        if "concept" in parts:
            self.concept = self.concept.for_dataset(str(config.dataset.name))

    def claim(self) -> Path:
        """A run folder of the job's own: it is made and marked, so that no other run takes it.

        Raises:
            ConfigError: it holds anything; nothing in it was changed.
        """
        self.folder = folders.run_folder(self.composed)
        return self.folder

    def seed_everything(self) -> None:
        """Seed Python, numpy and torch with ``seed``, and set the number of CPU threads if asked."""
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        console.adopt()  # Lightning has been imported by now
        L.seed_everything(self.config.seed, workers=True, verbose=False)

    @property
    def seed(self) -> int:
        """Of the noise, of the order of clips, of everything that is drawn."""
        return int(self.config.seed)

    def name(self, group: str) -> str | None:
        """The option of a group that the job runs with."""
        return self.choices.get(group)

    # -- data ---------------------------------------------------------------------------------------------------------
    @cached_property
    def source(self) -> DatasetSource:
        """The data set, made or packed if it has to be."""
        source: DatasetSource = instantiate(self.config.dataset)
        source.prepare()
        return source

    @cached_property
    def concept(self) -> Concept:
        """The concept as it is on this data set."""
        concept: Concept = instantiate(self.config.concept)
        return concept

    @cached_property
    def actions(self) -> dict[str, Concept]:
        """Every concept that a detector sees, by name; the job's own wins."""
        return {k: action.for_dataset(self.source.name) for k, action in detector_concepts(self.concept).items()}

    @cached_property
    def partition(self) -> Partition:
        """Forget and retain of the training split, by the user's lists or the concept's keywords."""
        return partition(self.config, self.source, "train", self.concept)

    @cached_property
    def refinement(self) -> RetrievalRefinement | None:
        """What ``refine=`` names."""
        refinement: RetrievalRefinement | None = instantiate(self.config.refine) if self.config.get("refine") else None
        if refinement is not None and refinement.motions == "generated":
            self.backbone.check_steps(refinement.steps, "refine.steps")
        return refinement

    @cached_property
    def sides(self) -> Partition:
        """The partition as ``refine=`` leaves it: what is learnt from."""
        if self.refinement is None:
            return self.partition
        with moved(self.backbone, self.trainer_device):
            searched = searched_by(self.evaluator).to(self.trainer_device)
            return self.refinement(
                self.partition, self.source, self.concept, self.backbone, searched, self.cache / "galleries"
            )

    @cached_property
    def clips(self) -> tuple[MotionClips, MotionClips]:
        """The training clips of both sides: forget, retain."""
        return self.source.clips("train", self.sides.forget), self.source.clips("train", self.sides.retain)

    # -- models -------------------------------------------------------------------------------------------------------
    @cached_property
    def backbone(self) -> MotionBackbone:
        """The base model."""
        return build_backbone(self.config)

    @cached_property
    def base(self) -> str:
        """Identity of the base's weights: they are hashed once."""
        return fingerprint(self.backbone)

    @cached_property
    def method(self) -> Method:
        """What unlearns; by its class it fits the backbone that is configured."""
        method: Method = instantiate(self.config.method)
        if not isinstance(method, (EditMethod, TrainedMethod)):
            raise ConfigError(
                f"method._target_ '{self.config.method._target_}' built neither a trained method nor an edit method"
            )
        if "backbone" not in vars(self):
            check_fit(method, backbone_class(self.config.backbone))
        return method

    def check_match(self) -> None:
        """Refuse data that the backbone does not generate, and a method that does not work on it."""
        check_match(self.backbone, self.source)
        if "method" in self.config:
            check_fit(self.method, self.backbone)
            self.method.check(self.backbone)

    @property
    def trainer_device(self) -> torch.device:
        """Where the trainer works."""
        return of_trainer(str(self.config.trainer.accelerator))

    # -- measuring ----------------------------------------------------------------------------------------------------
    @property
    def cache(self) -> Path:
        """The folder of caches, safe to delete."""
        return Path(self.config.paths.cache)

    @cached_property
    def generated(self) -> Store:
        """Motions that were generated before."""
        return Store(self.cache / "generated")

    @cached_property
    def suite(self) -> Suite:
        """Which numbers, on which prompts, how often."""
        suite: Suite = instantiate(self.config.suite)
        return suite

    @cached_property
    def evaluator(self) -> Evaluator:
        """What embeds motions and captions."""
        return build_evaluator(self.config, self.source)

    @cached_property
    def measured(self) -> Partition:
        """Forget and retain of the split that is measured."""
        return partition(self.config, self.source, self.suite.split, self.concept, self.actions)

    @cached_property
    def sets(self) -> list[PromptSet]:
        """The prompt sets made from that split."""
        source, suite, unit = self.source, self.suite, self.backbone.unit_length
        forget, retain = (source.clips(suite.split, ids) for ids in (self.measured.forget, self.measured.retain))
        prompting = Prompting(self.concept, self.actions, source.representation, unit, self.seed)
        return prompting.sets(forget, retain, suite.limits)

    @cached_property
    def reference(self) -> Model | None:
        """The model that never saw the concept, on the backbone's device; None without one."""
        if self.config.reference is None:
            return None
        check_reference(self.config, self.source, self.backbone)
        return load_reference(self.config, self.backbone, self.base)

    @cached_property
    def base_model(self) -> Model:
        """The base, as the suite asks it."""
        return Model("base", self.backbone, self.base)

    def check_measurable(self) -> None:
        """Everything that measuring may refuse, before anything expensive: suite, cache, evaluator, splits, reference.

        Raises:
            HmuError: the first that cannot be.
        """
        suite = self.suite
        self.backbone.check_steps(suite.steps, "suite.steps")
        check_place(self.cache)
        evaluator = self.evaluator
        if suite.gallery is not None:
            gallery_split(self.source, str(suite.gallery))
        models = [self.base_model, Model("unlearned", self.backbone, "not made yet")]
        models += [Model("reference", self.backbone, "not read yet")] * (self.config.reference is not None)
        suite.check_size(models, self.sets, evaluator.width, self.generated)
        if self.reference is not None:
            self.reference.backbone.to(of_module(self.backbone))
