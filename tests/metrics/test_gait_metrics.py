"""Numbers of gait: statistics by style, forces against motion, the fixed features."""

from __future__ import annotations

import math

import pytest
import torch

from hmu.errors import DataError
from hmu.evaluators.gait import NAMES as FEATURES
from hmu.evaluators.gait import GaitFeatures
from hmu.gait.standard import standard
from hmu.gait.statistics import NAMES
from hmu.metrics.base import EvalSamples
from hmu.metrics.gait_consistency import GaitConsistency
from hmu.metrics.gait_statistics import GaitStatistics
from tests.gait.conftest import demo_trial


@pytest.fixture(scope="module")
def windows() -> dict[str, torch.Tensor]:
    """Two starts of three people, by style."""
    found = {}
    for style in ("walk", "crouch", "stiff_knee", "run"):
        trials = [standard(demo_trial(style, share, 3.0, 3 + n))[0] for n, share in enumerate((0.2, 0.5, 0.8))]
        cuts = [torch.from_numpy(t.states[a : a + 150]).float() for t in trials for a in (50, 90)]
        found[style] = torch.stack(cuts)
    return found


def measured(metric, **fields):
    metric.update(EvalSamples(**fields))
    return metric.compute()


def test_statistics_are_given_for_all_windows_and_by_style(windows):
    found = measured(GaitStatistics(1.8), states=torch.cat([windows["walk"], windows["run"]]))
    assert set(NAMES) <= set(found)
    assert found["speed/walk"] < found["speed"] < found["speed/run"]
    assert found["knee_least/walk"] < 15
    assert math.isnan(found["speed/crouch"])
    assert found["load/walk"] == pytest.approx(1, abs=0.1)
    assert found["flight/run"] > 0.1 > found["flight/walk"]


def test_the_gap_is_zero_for_the_real_windows_themselves_and_grows_away_from_them(windows):
    real = windows["crouch"]
    same = measured(GaitStatistics(1.7), states=real, real_states=real)
    other = measured(GaitStatistics(1.7), states=windows["walk"], real_states=real)
    assert same["statistics_gap"] == same["statistics_gap/crouch"] == 0
    assert other["statistics_gap"] > 2
    assert math.isnan(other["statistics_gap/crouch"])


def test_every_window_counts_by_itself_so_that_prompts_can_be_resampled(windows):
    metric = GaitStatistics(1.7)
    metric.update(EvalSamples(states=torch.cat([windows["walk"], windows["run"]])))
    counts = torch.zeros(1, 12, dtype=torch.float64)
    counts[0, 6:] = 1
    drawn = metric.resampled(counts)
    assert float(drawn["speed"]) == pytest.approx(metric.compute()["speed/run"], rel=1e-5)


def test_forces_of_the_procedural_set_belong_to_its_motion_and_shuffled_ones_do_not(windows):
    from hmu.gait import columns

    true = measured(GaitConsistency(1.7), states=windows["walk"])
    assert true["load_error"] < 0.1
    wrong = windows["walk"].clone()
    wrong[..., columns.KINETIC_COLUMNS] = windows["walk"][..., columns.KINETIC_COLUMNS].roll(20, 1)
    false = measured(GaitConsistency(1.7), states=wrong)
    assert false["force_motion_error"] > 1.5 * true["force_motion_error"]
    assert false["foot_slide"] > 2 * true["foot_slide"]
    heavy = windows["walk"].clone()
    heavy[..., columns.KINETIC_COLUMNS] *= 1.5
    assert measured(GaitConsistency(1.7), states=heavy)["load_error"] == pytest.approx(0.5, abs=0.1)


def test_features_separate_styles_and_do_not_depend_on_batch_or_padding(windows):
    features = GaitFeatures(1.7)
    assert features.width == len(FEATURES) == len(features.units)
    every = torch.cat(list(windows.values()))
    lengths = torch.full((len(every),), 150)
    found = features.embed_motion(every, lengths)
    torch.testing.assert_close(found[5], features.embed_motion(every[5:6], lengths[:1])[0])
    longer = torch.nn.functional.pad(every, (0, 0, 0, 30))
    torch.testing.assert_close(features.embed_motion(longer, lengths), found)
    styles = found.unflatten(0, (4, 6))
    centres = styles.mean(1)
    within = (styles - centres[:, None]).norm(dim=-1).mean()
    between = torch.cdist(centres, centres)[~torch.eye(4, dtype=torch.bool)].min()
    assert between > within


def test_features_hardly_know_where_in_a_stride_a_window_begins():
    trial = standard(demo_trial("walk", 0.5, 4.0, 1))[0]
    cuts = torch.stack([torch.from_numpy(trial.states[a : a + 150]).float() for a in (50, 75, 100, 125)])
    found = GaitFeatures(1.7).embed_motion(cuts, torch.full((4,), 150))
    crouch = standard(demo_trial("crouch", 0.5, 4.0, 1))[0]
    other = GaitFeatures(1.7).embed_motion(torch.from_numpy(crouch.states[None, 50:200]).float(), torch.tensor([150]))
    assert (found - found.mean(0)).norm(dim=-1).max() < 0.5 * (found.mean(0) - other).norm()


def test_captions_are_refused():
    with pytest.raises(DataError, match="no captions"):
        GaitFeatures(1.7).embed_text([])


def test_the_fingerprint_knows_the_body():
    assert GaitFeatures(1.7).fingerprint != GaitFeatures(1.8).fingerprint
