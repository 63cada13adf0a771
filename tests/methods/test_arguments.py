"""Every number of every method: out of range it is refused when the method is built, by a line that names its key."""

from __future__ import annotations

import pytest

from hmu.compose import configured
from hmu.errors import ConfigError
from tests.methods.fake import FakeBackbone
from tests.methods.make import esd, lora

NAN, INF, HUGE = float("nan"), float("inf"), 10**12
TRAINED = {
    "steps": [0, -1, HUGE, 1.5],
    "batch_size": [0, HUGE],
    "lr": [0.0, -1.0, NAN, INF],
    "betas": [[0.9], [0.9, 1.0], [0.9, -0.1], [0.1, 0.2, 0.3]],
    "weight_decay": [-1.0, NAN],
    "warmup": [-1],
    "grad_clip": [0.0, -1.0],
}
LORA = {
    "rank": [0, -4],
    "alpha": [0.0, NAN],
    "dropout": [1.0, -0.1],
    "lambda_forget": [-1.0, INF],
    "margin": [0.0],
    "beta": [0.0],
    "eta": [NAN],
    "unconditional": [1.0],
    "strength": [0.0],
    "stop_retain": [-1.0],
    "stop_forget": [0.0],
    "stop_window": [0],
}
UCE = {
    "erase_weight": [0.0],
    "regulariser": [0.0, NAN],
    "preserve_weight": [-1.0],
    "retain_limit": [0],
    "strength": [INF],
}
LCR = {
    "codes": [0],
    "batch_size": [0],
    "crops": [-1, HUGE],
    "prior": [0.0],
    "min_support": [1.0],
    "alpha": [-1.0],
    "target_code": [-1],
    "lists": [[], "codes.yaml"],
}
WRONG = {
    "lora": LORA | TRAINED,
    "esd": {"eta": [INF], "preserve_weight": [-1.0], "unconditional": [1.0, -0.5]} | TRAINED,
    "finetune": {"unconditional": [1.0, NAN]} | TRAINED,
    "uce": UCE,
    "rece": {"rounds": [-1, HUGE], "adversary_ridge": [0.0]} | UCE,
    "lcr": LCR,
}
CASES = [(kind, key, value) for kind, keys in WRONG.items() for key, values in keys.items() for value in values]


@pytest.mark.parametrize(("kind", "key", "value"), CASES, ids=lambda v: getattr(v, "__name__", str(v)))
def test_refused_with_its_key(kind, key, value):
    length = {"steps": 5} if kind in ("lora", "esd", "finetune") else {}
    with pytest.raises(ConfigError, match=rf"^method\.{key}=") as caught:
        configured("method", kind, **length | {key: value})
    assert "\n" not in str(caught.value)


def test_what_only_the_backbone_can_tell():
    backbone = FakeBackbone()
    lora(steps=1, rank=2).check(backbone)
    with pytest.raises(
        ConfigError, match=r"method\.rank=100000: the largest adapted layer of .* has \d+ x \d+ weights"
    ):
        lora(steps=1, rank=100_000).check(backbone)
    with pytest.raises(ConfigError, match=r"method\.train=everything"):
        esd(steps=1, train="everything").check(backbone)
