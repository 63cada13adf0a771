"""GaitDynamics' adapters against the authors' code: files, answers, and the recorded training."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.gaitdynamics.authors import acting, published_modules, read_adapter, to_published
from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.backbones.gaitdynamics.model import GaitDynamics
from hmu.methods import adapters
from hmu.methods.applying import applied
from hmu.methods.edit import AdapterEdit
from tests import published
from tests.parity.checks import Check, compare, exact
from tests.parity.gait_files import DECODER, DOUBLE, FILE, facts, load, sizes, strange
from tests.parity.salad_files import Arrays

Factors = dict[str, tuple[Tensor, Tensor]]
ROUNDS, CLOSE = 40, 2e-8


def lora(case: Path) -> Iterator[Check]:
    """Adapter file, adapted answers, one module alone, the training trajectory, and the lists at the published size."""
    yield from strange(case, {"base.pt", "meta.json", "vectors.npz", "manifest_full.json", ".pt"})
    meta, arrays = facts(case / "meta.json"), Arrays(case / "vectors.npz")
    base, _ = load(case / "base.pt", meta["base"])
    modules = published_modules(base.options.layers)
    yield exact("modules", meta["modules"], modules)
    yield exact("replaced", arrays["replaced_skipped"].tolist(), [len(modules), 0])
    for path in sorted(case.glob("*lora*.pt")):
        factors, _ = read_adapter(path)
        yield exact(f"{path.name} modules", sorted(factors), sorted(modules))
        yield exact(f"{path.name} rank", {len(down) for down, _ in factors.values()}, {meta["r"]})
        yield from _answers(base, factors, float(meta["alpha"]), arrays)
    for name, (largest, bound) in meta.get("kaiming_A_max_and_bound", {}).items():
        inputs = to_published(base)[name.replace(".lora_A.weight", ".weight")].shape[1]
        yield compare(f"{name} bound", inputs**-0.5, bound, FILE)
        yield exact(f"{name} inside", largest <= bound, True)
    yield from _training(base, modules, meta, arrays)
    if (case / "manifest_full.json").is_file():
        yield from _manifest(facts(case / "manifest_full.json"))
    yield from arrays.unread()


def _model(base: Decoder) -> GaitDynamics:
    model = published.backbone("gaitdynamics", decoder=base.options, adapters="published", variant="upstream")
    model.decoder = base
    return model


def _acting(factors: Factors) -> Factors:
    """Those factors that reach the authors' output; whatever the others hold, it never did."""
    return {name: factors[name] for name in acting(list(factors))}


def _answers(base: Decoder, factors: Factors, alpha: float, arrays: Arrays) -> Iterator[Check]:
    x, time = arrays.tensor("x"), arrays.tensor("t")
    model = _model(base)
    edit = AdapterEdit(_acting(factors), alpha=alpha)
    scaling = alpha / edit.rank
    with torch.no_grad():
        plain = base(x, time)
        yield compare("base_out", plain, arrays["base_out"], DECODER)
        yield compare("out_right_after_injection", plain, arrays["out_right_after_injection"], DECODER)
        with applied(model, [(edit, 1.0)]):
            yield compare("adapted_out", base(x, time), arrays["adapted_out"], DECODER)
        yield exact("reverted", bool(torch.equal(base(x, time), plain)), True)
        base.double()
        with applied(model, [(edit, 1.0)]):
            double = base(x.double(), time)
        yield compare("adapted_out_f64", double, arrays["adapted_out_f64"], DOUBLE)
        base.float()
        given = arrays.tensor("linear1_in")
        layers = [name for name in factors if name.endswith("linear1")]
        weights = to_published(base)

        def alone(name: str) -> Tensor:
            return F.linear(given, weights[f"{name}.weight"], weights[f"{name}.bias"])

        errors = [compare(name, alone(name), arrays["linear1_base_out"], FILE) for name in layers]
        best = min(range(len(layers)), key=lambda i: errors[i].deviation)
        yield errors[best]
        down, up = factors[layers[best]]
        output = alone(layers[best]) + scaling * given @ down.T @ up.T
        yield compare("linear1_out", output, arrays["linear1_out"], FILE)


def _training(base: Decoder, modules: list[str], meta: Mapping[str, Any], arrays: Arrays) -> Iterator[Check]:
    """The authors' loop without dropout, from stored noise: gradients of step 0, losses, adapters afterwards."""
    model = _model(base)
    model.requires_grad_(False)
    trained = adapters.inject(model, int(meta["r"]), float(meta["alpha"]), 0.0)
    yield exact("adapters that act", sorted({n.rpartition(".")[0] for n in trained}), sorted(acting(modules)))
    silent = {f"{m}.{side}.weight" for m in modules for side in ("lora_A", "lora_B") if m not in set(acting(modules))}
    yield exact("params_without_gradient", set(arrays["train/params_without_gradient"].tolist()), silent)
    for name in silent:
        yield compare(f"{name} stays", arrays[f"train/final/{name}"], arrays[f"train/init/{name}"], 0.0)
    begin, final = (
        {name: arrays.tensor(f"train/{when}/{name}.weight") for name in trained} for when in ("init", "final")
    )
    if all(torch.equal(begin[name], final[name]) for name in trained):
        begin = _recovered(model, trained, final, arrays)
    losses, gradients = _run(model, trained, begin, arrays)
    for name, gradient in gradients.items():
        key = f"train/grad_step0/{name}.weight"
        if key in arrays:
            yield compare(key, gradient, arrays[key], DECODER)
    yield compare("losses", losses, arrays["train/losses"], FILE)
    for name, parameter in trained.items():
        yield compare(f"final {name}", parameter.detach(), final[name], DECODER)
    adapters.remove(model.network())


def _recovered(
    model: GaitDynamics, trained: Mapping[str, nn.Parameter], final: Mapping[str, Tensor], arrays: Arrays
) -> dict[str, Tensor]:
    """The adapters before training, where the recorded ones are the trained ones once more (a shared memory).

    ``B`` starts at zero by definition. ``A`` is found by correcting it with what training from it misses; gradients,
    losses and the trained ``B`` then prove it.
    """
    begin = {name: value if name.endswith("lora_A") else torch.zeros_like(value) for name, value in final.items()}
    for _ in range(ROUNDS):
        _run(model, trained, begin, arrays)
        missed = {n: final[n] - p.detach() for n, p in trained.items() if n.endswith("lora_A")}
        begin |= {name: begin[name] + value for name, value in missed.items()}
        if max(float(value.abs().max()) for value in missed.values()) < CLOSE:
            break
    return begin


def _run(
    model: GaitDynamics, trained: Mapping[str, nn.Parameter], begin: Mapping[str, Tensor], arrays: Arrays
) -> tuple[list[float], dict[str, Tensor]]:
    """Train from ``begin``; the losses, and the gradients of the first step."""
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(begin[name])
    clean = arrays.tensor("train/x_start")
    lengths = torch.full((len(clean),), clean.shape[1])
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    losses: list[float] = []
    first: dict[str, Tensor] = {}
    for noise, time in zip(arrays.tensor("train/noise"), arrays.tensor("train/t"), strict=True):
        state = model.noised(clean, noise, time, lengths)
        loss = model.distance(model.predict(state), state.target, state).mean()
        optimizer.zero_grad()
        loss.backward()
        losses.append(float(loss.detach()))
        first = first or {
            name: parameter.grad.clone() for name, parameter in trained.items() if parameter.grad is not None
        }
        optimizer.step()
    return losses, first


def _manifest(listed: Mapping[str, Any]) -> Iterator[Check]:
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


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"lora": lora}
