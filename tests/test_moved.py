"""Every name that a configuration of version 0.1 recorded still builds something."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from hmu.build import get_object
from hmu.config import check_config
from hmu.moved import renamed

#: every ``_target_`` of the configuration tree of version 0.1
RECORDED = """
hmu.backbones.bamm.build
hmu.backbones.bamm.options.BidirectionalOptions
hmu.backbones.bamm.options.SamplingOptions
hmu.backbones.gaitdynamics.build
hmu.backbones.gaitdynamics.options.DecoderOptions
hmu.backbones.gaitdynamics.options.ObjectiveOptions
hmu.backbones.gaitdynamics.options.SamplingOptions
hmu.backbones.gaitdynamics.options.ScheduleOptions
hmu.backbones.momask.build
hmu.backbones.momask.options.LengthOptions
hmu.backbones.momask.options.ResidualOptions
hmu.backbones.momask.options.RvqOptions
hmu.backbones.momask.options.SamplingOptions
hmu.backbones.momask.options.TransformerOptions
hmu.backbones.salad.build
hmu.backbones.salad.options.DenoiserOptions
hmu.backbones.salad.options.SamplingOptions
hmu.backbones.salad.options.ScheduleOptions
hmu.backbones.salad.options.VaeOptions
hmu.data.concepts.Concept
hmu.data.dataset.DatasetSource
hmu.data.demo.generate
hmu.evaluation.gait.GaitSuite
hmu.evaluation.suite.Suite
hmu.evaluators.both.EvaluatorPair
hmu.evaluators.gait.GaitFeatures
hmu.evaluators.guo.build
hmu.evaluators.tmr.build
hmu.evaluators.tmr.tables.token_table
hmu.gait.demo.generate
hmu.gait.source.GaitSource
hmu.methods.esd.Esd
hmu.methods.finetune.Finetune
hmu.methods.lcr.Lcr
hmu.methods.lora.Lora
hmu.methods.rece.Rece
hmu.methods.uce.Uce
hmu.metrics.detector_rate.DetectorRate
hmu.metrics.diversity.Diversity
hmu.metrics.fid.FID
hmu.metrics.gait_consistency.GaitConsistency
hmu.metrics.gait_statistics.GaitStatistics
hmu.metrics.kernel_distance.KID
hmu.metrics.mm_dist.MMDist
hmu.metrics.mm_safe.MMSafe
hmu.metrics.mm_safe.MMSafeHMU
hmu.metrics.multimodality.MultiModality
hmu.metrics.physical.ContactShare
hmu.metrics.physical.Energy
hmu.metrics.physical.FootSkate
hmu.metrics.physical.Jerk
hmu.metrics.r_precision.RPrecision
hmu.metrics.retrieval.Retrieval
hmu.metrics.retrieval.SentenceRetrieval
hmu.text.clip.build
hmu.text.compact.CompactTextEncoder
hmu.text.huggingface.build
hmu.tools.sweeping.ClaimSweep
hmu.training.callbacks.EarlyStopping
hmu.training.recipe.Recipe
hmu.workflows.loggers.TensorBoardReport
hmu.workflows.loggers.WandbReport
hmu.workflows.refine.RetrievalRefinement
hmu.workflows.sweep.SweepTable
"""


@pytest.mark.parametrize("name", RECORDED.split())
def test_recorded_names_are_found(name):
    assert callable(get_object(renamed({"_target_": name})["_target_"]))


def test_only_targets_are_renamed():
    node = {"note": "hmu.workflows.loggers.x", "inner": [{"_target_": "hmu.workflows.loggers.WandbReport"}]}
    assert renamed(node) == {
        "note": "hmu.workflows.loggers.x",
        "inner": [{"_target_": "hmu.report.loggers.WandbReport"}],
    }


def test_files_of_ones_own_with_earlier_names_are_taken():
    """A suite or logger that somebody wrote for version 0.1, in a composed configuration."""
    config = OmegaConf.create(
        {"suite": {"_target_": "hmu.evaluation.gait.GaitSuite", "limits": {"forget": 2}, "metrics": {}}, "none": None}
        | {"several": [{"_target_": "hmu.workflows.loggers.WandbReport"}], "elsewhere": "${suite}"}
    )
    check_config(config)
    assert config.suite._target_ == "hmu.evaluation.suite.Suite"
    assert config.several[0]._target_ == "hmu.report.loggers.WandbReport"
