"""GaitDynamics' adapters against the authors' code: files, answers, and the recorded training."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.gaitdynamics.authors import LAYER, UNUSED, read_adapter, to_published
from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.backbones.gaitdynamics.model import GaitDynamics
from hmu.methods import adapters
from hmu.methods.applying import applied
from hmu.methods.edit import AdapterEdit
from tests.parity.case import Case, Table, read_json
from tests.parity.checks import Checks, compare, deviation, exact, nearest, unchecked
from tests.parity.gait_models import DECODER, FILE, network, sizes
from tests.parity.kinds import compares
from tests.parity.manifests import MANIFEST
from tests.published import backbone

Factors = dict[str, tuple[Tensor, Tensor]]
ROUNDS, CLOSE = 40, 2e-8


def published_modules(layers: int) -> list[str]:
    """The linear layers on which the authors' injection puts adapters, in its order.

    The two attention entries of every layer never act: torch's attention reads the weight and skips the adapter, and
    the second block is not run at all.
    """
    per_layer = ("self_attn.out_proj", f"{UNUSED}.out_proj", "linear1", "linear2")
    inner = [f"{LAYER}{index}.{name}" for index in range(layers) for name in per_layer]
    return ["input_projection", *inner, "final_layer"]


def acting(modules: list[str]) -> list[str]:
    """Those of :func:`published_modules` whose adapter reaches the output."""
    return [name for name in modules if not name.endswith(".out_proj")]


class Adapted(NamedTuple):
    """A network, adapters of the authors for it, and their alpha."""

    base: Decoder
    factors: Factors
    alpha: float

    @property
    def edit(self) -> AdapterEdit:
        """Those factors that reach the authors' output; whatever the others hold, it never did."""
        return AdapterEdit({name: self.factors[name] for name in acting(list(self.factors))}, alpha=self.alpha)


@compares("lora", known=(".json", ".npz", ".pt"))
def lora(case: Case) -> Checks:
    """Adapter file, adapted answers, one module alone, the training trajectory, and the lists at the published size."""
    folder = case.folder
    files = sorted(folder.glob("*lora*.pt"))
    path = next((p for p in sorted(folder.glob("*.pt")) if p not in files), folder / "base.pt")
    settings = case.settings("base")
    base = network(path, settings, lambda net: deviation(_plain(case, net), case.raw("base_out")), folder.name)
    modules = published_modules(base.options.layers)
    yield exact("modules", case.facts.get("modules", modules), modules)
    if "replaced_skipped" in case:
        yield exact("replaced", case.raw("replaced_skipped").tolist(), [len(modules), 0])
    for file in files:
        factors, _ = read_adapter(file)
        rank = len(factors[modules[0]][0])
        yield exact(f"{file.name} modules", sorted(factors), sorted(modules))
        yield exact(f"{file.name} rank", {len(down) for down, _ in factors.values()}, {case.facts.get("r", rank)})
        yield from _answers(case, base, factors)
    for name, (largest, bound) in case.facts.get("kaiming_A_max_and_bound", {}).items():
        inputs = to_published(base)[name.replace(".lora_A.weight", ".weight")].shape[1]
        yield compare(f"{name} bound", inputs**-0.5, bound, FILE)
        yield exact(f"{name} inside", largest <= bound, True)
    if case.groups("train"):
        yield from _training(base, modules, case.facts, case.under("train/"))
    else:
        yield unchecked("training", "not recorded")
    if (folder / MANIFEST).is_file():
        yield from _manifest(read_json(folder / MANIFEST))


def _model(base: Decoder) -> GaitDynamics:
    model = backbone("gaitdynamics", decoder=base.options, adapters="published", variant="upstream")
    model.decoder = base
    return model


def _plain(case: Case, net: Decoder) -> Tensor:
    return net(case["x"], case["t"])


def _adapted(case: Case, adapted: Adapted) -> Tensor:
    with applied(_model(adapted.base), [(adapted.edit, 1.0)]):
        return _plain(case, adapted.base)


ANSWER_ROWS: Table = {
    "(?:base_out|out_right_after_injection)": lambda case, adapted: _plain(case, adapted.base),
    "adapted_out": _adapted,
}


def _answers(case: Case, base: Decoder, factors: Factors) -> Checks:
    rank = len(next(iter(factors.values()))[0])
    alphas = [float(case.facts["alpha"])] if "alpha" in case.facts else [2.0 * rank, 1.0 * rank, 1.0]
    guesses = [Adapted(base, factors, alpha) for alpha in alphas]
    adapted = nearest(guesses, lambda guess: case.off(guess, ANSWER_ROWS, "adapted_out"))
    plain = _plain(case, base)

    def twins(adapted: Adapted) -> Iterator[Adapted]:
        yield adapted._replace(base=copy.deepcopy(base).double())

    yield from case.table(adapted, ANSWER_ROWS, DECODER, twins=twins)
    yield exact("reverted", bool(torch.equal(_plain(case, base), plain)), True)
    if "linear1_in" in case:
        yield from _alone(case, adapted)


def _alone(case: Case, adapted: Adapted) -> Checks:
    """One linear layer alone; which layer is not recorded."""
    given, weights = case["linear1_in"], to_published(adapted.base)
    layers = [name for name in adapted.factors if name.endswith("linear1")]
    outputs = {n: F.linear(given, weights[f"{n}.weight"], weights[f"{n}.bias"]) for n in layers}
    name = nearest(layers, lambda name: deviation(outputs[name], case.raw("linear1_base_out")))
    down, up = adapted.factors[name]
    with_adapter = outputs[name] + adapted.alpha / len(down) * given @ down.T @ up.T
    yield from case.given({"linear1_base_out": outputs[name], "linear1_out": with_adapter}, FILE)


def _training(base: Decoder, modules: list[str], meta: Mapping[str, Any], case: Case) -> Checks:
    """The authors' loop without dropout, from stored noise: gradients of step 0, losses, adapters afterwards."""
    model = _model(base)
    model.requires_grad_(False)
    rank = int(meta.get("r", len(case.raw(f"final/{modules[0]}.lora_A.weight"))))
    trained = adapters.inject(model, rank, float(meta.get("alpha", 2 * rank)), 0.0)
    yield exact("adapters that act", sorted({n.rpartition(".")[0] for n in trained}), sorted(acting(modules)))
    silent = {f"{m}.{side}.weight" for m in modules for side in ("lora_A", "lora_B") if m not in set(acting(modules))}
    if "params_without_gradient" in case:
        yield exact("params_without_gradient", set(case.raw("params_without_gradient").tolist()), silent)
    for name in silent:
        if f"final/{name}" in case and f"init/{name}" in case:
            yield compare(f"{name} stays", case.raw(f"final/{name}"), case.raw(f"init/{name}"), 0.0)
    begin, final = ({name: case[f"{when}/{name}.weight"] for name in trained} for when in ("init", "final"))
    if all(torch.equal(begin[name], final[name]) for name in trained):
        begin = _recovered(model, trained, final, case)
    losses, gradients = _run(model, trained, begin, case)
    yield from case.given({f"grad_step0/{name}.weight": value for name, value in gradients.items()}, DECODER)
    yield from case.given({"losses": losses}, FILE)
    for name, parameter in trained.items():
        yield compare(f"final {name}", parameter.detach(), final[name], DECODER)
    adapters.remove(model.network())


def _recovered(
    model: GaitDynamics, trained: Mapping[str, nn.Parameter], final: Mapping[str, Tensor], case: Case
) -> dict[str, Tensor]:
    """The adapters before training, where the recorded ones are the trained ones once more (a shared memory).

    ``B`` starts at zero by definition. ``A`` is found by correcting it with what training from it misses; gradients,
    losses and the trained ``B`` then prove it.
    """
    begin = {name: value if name.endswith("lora_A") else torch.zeros_like(value) for name, value in final.items()}
    for _ in range(ROUNDS):
        _run(model, trained, begin, case)
        missed = {n: final[n] - p.detach() for n, p in trained.items() if n.endswith("lora_A")}
        begin |= {name: begin[name] + value for name, value in missed.items()}
        if max(float(value.abs().max()) for value in missed.values()) < CLOSE:
            break
    return begin


@torch.enable_grad()
def _run(
    model: GaitDynamics, trained: Mapping[str, nn.Parameter], begin: Mapping[str, Tensor], case: Case
) -> tuple[list[float], dict[str, Tensor]]:
    """Train from ``begin``; the losses, and the gradients of the first step."""
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(begin[name])
    clean = case["x_start"]
    lengths = torch.full((len(clean),), clean.shape[1])
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    losses, first = list[float](), dict[str, Tensor]()
    for noise, time in zip(case["noise"], case["t"], strict=True):
        state = model.noised(clean, noise, time, lengths)
        loss = model.distance(model.predict(state), state.target, state).mean()
        optimizer.zero_grad()
        loss.backward()
        losses.append(float(loss.detach()))
        first = first or {name: p.grad.clone() for name, p in trained.items() if p.grad is not None}
        optimizer.step()
    return losses, first


def _manifest(listed: Mapping[str, Any]) -> Checks:
    """Modules, sizes and names at the published size."""
    keys = listed["injected_model_state_dict_in_order"]
    count = 1 + max(int(m.group(1)) for key in keys if (m := re.search(r"stack\.(\d+)\.", key)))
    shapes = {key.replace(".base.", "."): value for key, value in keys.items() if ".lora_" not in key}
    modules = published_modules(count)
    rank = int(listed["r"])
    rows = listed["modules_in_named_modules_order"]
    yield exact("manifest modules", [row["name"] for row in rows], modules)
    yield exact("manifest that act", [row["name"] for row in rows if row["affects_output"]], acting(modules))
    total = {name: rank * sum(_shape(shapes[f"{name}.weight"])) for name in modules}
    yield exact("manifest parameters", [row["params"] for row in rows], list(total.values()))
    yield exact("manifest trainable", listed["trainable"], sum(total.values()))
    yield exact("manifest acting", listed["trainable_that_can_affect_output"], sum(total[m] for m in acting(modules)))
    names = [f"{m}.{side}.weight" for m in modules for side in ("lora_A", "lora_B")]
    yield exact("manifest adapter names", list(listed["adapter_state_dict_in_order"]), names)
    yield exact("manifest scaling", listed["scaling"], listed["alpha"] / rank)
    yield exact("manifest replaced", listed["replaced"], len(modules))
    options = sizes({"nfeats": _shape(shapes["final_layer.weight"])[0], "num_layers": count})
    with torch.device("meta"):
        ours = to_published(Decoder(options))
    injected = [_injected(name, modules) for name in ours]
    yield exact("manifest injected names", sorted(k for k in keys if ".lora_" not in k), sorted(injected))
    for name, value in ours.items():
        yield exact(f"manifest {name}", list(value.shape), _shape(keys.get(_injected(name, modules), [])))


def _shape(entry: Any) -> list[int]:
    return list(entry["shape"] if isinstance(entry, Mapping) else entry)


def _injected(name: str, modules: list[str]) -> str:
    """The name of a weight after the authors' injection."""
    module, _, leaf = name.rpartition(".")
    return f"{module}.base.{leaf}" if module in set(modules) else name
