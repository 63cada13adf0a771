from __future__ import annotations

import pytest
import torch

from hmu.backbones.salad.diffusion import Diffusion
from hmu.backbones.salad.options import ScheduleOptions
from hmu.errors import ConfigError
from tests import published


@pytest.mark.parametrize("kind", ["v_prediction", "epsilon", "sample"])
def test_an_answer_tells_noise_and_clean_latent(kind):
    process = Diffusion(published.options(ScheduleOptions, prediction_type=kind))
    g = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(4, 3, 7, 2, generator=g, dtype=torch.float64) for _ in range(2))
    time = torch.tensor([0, 10, 500, 999])
    noisy, answer = process.add(clean, noise, time), process.target(clean, noise, time)
    torch.testing.assert_close(process.to_noise(answer, noisy, time), noise, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(process.to_clean(answer, noisy, time), clean, atol=1e-5, rtol=1e-4)


def test_fifty_published_steps_never_see_the_last_level():
    scheduler = Diffusion(published.options(ScheduleOptions)).scheduler("DDIMScheduler")
    scheduler.set_timesteps(50)
    assert scheduler.timesteps.tolist() == list(range(980, -1, -20))


@pytest.mark.parametrize("name", ["Nonsense", "logging"])
def test_refuses_what_is_no_scheduler(name):
    with pytest.raises(ConfigError, match=name):
        Diffusion(published.options(ScheduleOptions)).scheduler(name)


def test_refuses_unknown_arguments_and_schedules():
    with pytest.raises(ConfigError, match="no argument typo"):
        Diffusion(published.options(ScheduleOptions)).scheduler("DDIMScheduler", {"typo": 1})
    with pytest.raises(ConfigError, match="beta_schedule=steep: expected linear, scaled_linear or"):
        Diffusion(published.options(ScheduleOptions, beta_schedule="steep")).scheduler("DDIMScheduler")
    with pytest.raises(ConfigError, match="prediction_type"):
        published.options(ScheduleOptions, prediction_type="score")
