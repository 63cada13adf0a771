"""What a method must bring, as an outsider writes it: one dataclass; mix-ins stand before it and call ``super()``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from hmu.build import instantiate
from hmu.compose import composed
from hmu.errors import ConfigError
from hmu.methods.base import TrainedMethod
from hmu.methods.esd import Esd
from hmu.methods.lora import Lora
from hmu.methods.weight_method import WeightMethod
from hmu.training.unlearning import run_method
from tests.methods.fake import FakeBackbone, FakeClips


@dataclass(kw_only=True)
class Ascent(WeightMethod):
    """Gradient ascent on the forget side, in as many lines as a method needs."""

    name: ClassVar[str] = "ascent"
    weight: float

    def loss(self, backbone, forget, retain, generator=None):
        up = backbone.loss(forget.target, forget.condition, generator).mean()
        return {"loss": backbone.loss(retain.target, retain.condition, generator).mean() - self.weight * up}


@dataclass(kw_only=True)
class Mask(TrainedMethod):
    """A random share of every weight trains."""

    mask: float

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.mask <= 1:
            raise ConfigError(f"method.mask={self.mask}: expected a share")

    def setup(self, backbone):
        trained = super().setup(backbone)
        for parameter in trained.values():
            open_ = torch.rand(parameter.shape) < self.mask
            parameter.register_hook(lambda gradient, open_=open_: gradient * open_)
        return trained


@dataclass(kw_only=True)
class Budget(TrainedMethod):
    """The retain term counts more as it grows."""

    retain_budget: float

    def loss(self, *step):
        terms = super().loss(*step)
        retain = terms[self.retain_term]
        return terms | {"loss": terms["loss"] + (retain.detach() / self.retain_budget) * retain}


@dataclass(kw_only=True)
class MaskedEsd(Mask, Budget, Esd):
    pass


@dataclass(kw_only=True)
class BudgetLora(Budget, Lora):
    pass


def numbers(name: str, **changes):
    """The values of a method's file, as a YAML of one's own would take them in."""
    values = {key: value for key, value in composed("method", name).items() if key != "_target_"}
    return {**values, "steps": 3, "batch_size": 4, **changes}


def clips() -> tuple[FakeClips, FakeClips]:
    return FakeClips(["kicks"], 5, seed=1), FakeClips(["walks", "waves"], 12, seed=2)


def test_a_method_is_one_dataclass():
    values = numbers("finetune", weight=0.5)
    method = Ascent(**{key: value for key, value in values.items() if key != "unconditional"})
    edit = run_method(method, FakeBackbone(), *clips())
    assert edit.method == "ascent"
    assert edit.settings["weight"] == 0.5
    assert edit.settings["lr"] == 1e-4
    assert any(bool(delta.any()) for delta in edit.tensors.values())


def test_mix_ins_are_bases():
    edit = run_method(MaskedEsd(**numbers("esd", mask=0.25, retain_budget=0.1, train="all")), FakeBackbone(), *clips())
    trained = torch.cat([delta.flatten() != 0 for delta in edit.tensors.values()])
    assert 0.1 < trained.float().mean() < 0.4
    assert (edit.settings["mask"], edit.settings["retain_budget"]) == (0.25, 0.1)
    plain, held = (run_method(kind, FakeBackbone(), *clips()) for kind in (lora(), lora(retain_budget=1e-3)))
    assert plain.tensors.keys() == held.tensors.keys()
    assert not all(torch.equal(plain.tensors[name], held.tensors[name]) for name in plain.tensors)


def lora(**budget: float) -> Lora:
    return BudgetLora(**numbers("lora"), **budget) if budget else Lora(**numbers("lora"))


def test_every_base_refuses_its_own_values():
    for wrong in ({"mask": 0.0}, {"lr": -1.0}, {"eta": float("nan")}, {"preserve_weight": -1.0}):
        with pytest.raises(ConfigError, match=f"^method.{next(iter(wrong))}="):
            MaskedEsd(**numbers("esd", **{"mask": 0.5, "retain_budget": 0.1, **wrong}))


def test_a_missing_value_is_one_line():
    node = composed("method", "esd")
    rate = node.pop("lr")
    assert instantiate(node).lr == rate  # its file says one thing only
    node["_target_"] = f"{__name__}.MaskedEsd"
    with pytest.raises(ConfigError, match=r"^no value for .*'lr'.*MaskedEsd needs one \(see its file"):
        instantiate(node)


def test_a_method_that_lacks_a_verb_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"Mask: no complete trained method, it lacks loss, to_edit$"):
        Mask(**{key: value for key, value in numbers("finetune", mask=0.5).items() if key in Mask.__dataclass_fields__})
