"""HMU's port of UCE and RECE, and the SALAD fork's UCE, against ours (``variant: upstream``)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hmu.backbones.salad.authors import load_authors
from hmu.backbones.salad.model import Salad
from hmu.checkpoints.authors import read_state
from hmu.checkpoints.safe import load_tensors
from hmu.methods.applying import applied
from hmu.methods.closed_form import Group, Scales
from hmu.methods.edit import DeltaEdit
from hmu.methods.upstream import closed_form as upstream_edits
from tests.parity.checks import Check, compare, exact
from tests.parity.salad_files import NETWORK, Arrays, prompts

TARGETS = {"tensor": "projection"}  # any other technique means that the concept becomes the target prompt
SOLVED = 1e-8  # both sides in float64; ten rounds are ill-conditioned
SINGLE, ROUNDS = 1e-4, 2e-2  # the authors' float32 against float64: one solution, several rounds
TERMS = {"erase": "erase_scale", "keep": "preserve_scale", "ridge": "lamb"}
ADVERSARY = 1e-3
DEFAULTS = Scales(erase=0.1, keep=0.1, ridge=0.1)
STATES = ("t2m_transformer", "res_transformer")


# -- HMU: uce_rece -----------------------------------------------------------------------------------------------------
def uce_rece(case: Path) -> Iterator[Check]:
    """Every ``<name>.npz`` with its ``<name>.json``, and the checkpoints that the port saved beside the case."""
    stems = {path.stem for path in case.iterdir()}
    for stem in sorted(stems):
        files = {path.suffix for path in case.glob(f"{stem}.*")}
        if files != {".npz", ".json"}:
            yield Check(f"file '{stem}' of unknown kind", math.inf, 0.0)
            continue
        yield from _one(case / f"{stem}.npz", json.loads((case / f"{stem}.json").read_text(encoding="utf-8")))
    facts = case.parent / "checkpoints" / "uce_rece.json"
    if facts.is_file():
        yield from _checkpoints(facts.parent, json.loads(facts.read_text(encoding="utf-8")))


def _one(path: Path, facts: Mapping[str, Any]) -> Iterator[Check]:
    arrays, name = Arrays(path), path.stem
    count = sum(key.startswith("W") for key in arrays)
    layers = {
        str(i): (arrays.tensor(f"W{i}"), arrays.tensor(f"b{i}") if f"b{i}" in arrays else None) for i in range(count)
    }
    concept, aim = arrays.tensor("forget_emb"), arrays.tensor("target_emb")
    group = Group.of(layers, concept, aim.expand_as(concept), arrays.tensor("retain_emb"))
    scales = Scales(**{ours: float(facts[theirs]) for ours, theirs in TERMS.items()})
    rounds = _rounds(group, scales, facts["technique"], max([0, *facts["iterations"]]), float(facts["regeular_scale"]))
    loose = 1.5 * float(facts["max_abs_f32_vs_f64"]) + 1e-5
    for number, (weights, adversary) in enumerate(rounds):
        named = {f"W{layer}_after{number}": weight for layer, weight in weights.items()}
        named |= {} if adversary is None else {f"adv_iter{number}": adversary}
        for key, value in named.items():
            if f"f64_{key}" in arrays:
                yield compare(f"{name} f64_{key}", value, arrays[f"f64_{key}"], SOLVED)
            if f"f32_{key}" in arrays:
                yield compare(f"{name} f32_{key}", value, arrays[f"f32_{key}"], loose, absolute=True)
    yield from (Check(f"{name}: {check.name}", check.deviation, check.tolerance) for check in arrays.unread())


def _rounds(
    group: Group, scales: Scales, technique: str, rounds: int, ridge: float
) -> list[tuple[dict[str, Tensor], Tensor | None]]:
    """Weights after UCE and after every round, with the embedding that the round erased."""
    target = TARGETS.get(technique, "anchor")
    weights = {n: upstream_edits.solve(group, n, scales, target) for n in group.layers}
    found: list[tuple[dict[str, Tensor], Tensor | None]] = [(weights, None)]
    for _ in range(rounds):
        found.append(upstream_edits.rece_round(group, found[-1][0], scales, target, ridge))
    return found


def _checkpoints(folder: Path, facts: Mapping[str, Any]) -> Iterator[Check]:
    """The files that the port wrote: layout, what changed in them, and that our edit of the base gives the same."""
    arrays, hyper = Arrays(folder / "uce_rece_vectors.npz"), facts["hyper"]
    read = {name: _read(folder, name) for name in facts["files"]}
    bases = {name.split("/")[0]: state for name, (_, state) in read.items() if name.endswith("/base.tar")}
    texts = {role: torch.stack([arrays.tensor(f"emb::{t}") for t in hyper[role]]) for role in ("forget", "retain")}
    layers: dict[str, tuple[Tensor, Tensor | None]] = {
        part: (state["cond_emb.weight"], state["cond_emb.bias"]) for part, state in bases.items()
    }
    aim = arrays.tensor(f"emb::{hyper['target']}").expand_as(texts["forget"])
    group = Group.of(layers, texts["forget"], aim, texts["retain"])
    scales = Scales(DEFAULTS.erase, float(hyper["ps"]), DEFAULTS.ridge)
    solved = _rounds(group, scales, "tensor", int(hyper["epochs"]), ADVERSARY)
    probe = arrays.tensor("probe_embeddings")
    for name, told in facts["files"].items():
        content, state = read[name]
        part, file = name.split("/")[0], name.split("/")[-1]
        yield exact(f"{name} keys", sorted(content), sorted(told["top_level_keys"]))
        yield exact(f"{name} ep", content["ep"], told["ep"])
        yield exact(f"{name} names", len(state), told["n_keys"])
        changed = [key for key, value in state.items() if not torch.equal(value, bases[part][key])]
        yield exact(f"{name} changed", sorted(changed), sorted(told["changed_keys"]))
        number = {"base.tar": None, f"UCE_{hyper['ps']}.tar": 0}.get(file, int(hyper["epochs"]))
        ours = group.layers[part][0] if number is None else solved[number][0][part]
        tolerance = ROUNDS if number else SINGLE
        yield compare(f"{name} cond_emb.weight", ours, state["cond_emb.weight"], tolerance)
        out = probe.double() @ ours.T + state["cond_emb.bias"].double()
        yield compare(f"{part}::{file}::cond_emb_out", out, arrays[f"{part}::{file}::cond_emb_out"], tolerance)
    for text in facts["text_order_of_probe"]:
        _ = arrays[f"emb::{text}"]
    yield from arrays.unread()


def _read(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A checkpoint of whichever data set folder holds it, and the state dictionary inside."""
    path = next(iter(sorted(folder.glob(f"*/{name}"))), folder / name)
    content = load_tensors(path)
    return content, next(content[key] for key in STATES if key in content)


# -- SALAD's fork: unlearn_uce -----------------------------------------------------------------------------------------
def unlearn_uce(case: Path) -> Iterator[Check]:
    """Mean words, edited matrices, answers before and after, the saved file; and the edit as ours, on and off."""
    strange = sorted(p.name for p in case.iterdir() if p.name not in {"vectors.npz", "uce.json"})
    yield from (Check(f"file '{name}' of unknown kind", math.inf, 0.0) for name in strange)
    arrays, facts = Arrays(case / "vectors.npz"), json.loads((case / "uce.json").read_text(encoding="utf-8"))
    base = case.parent / facts["base_checkpoint"]
    model = load_authors(base.parent, base.name, variant="upstream")
    layers = [key.removesuffix(".weight") for key in facts["edited_keys"]]
    yield exact("edited_keys", sorted(model.text_projections()), sorted(layers))
    with torch.no_grad():
        means = {
            side: upstream_edits.mean_words(model.denoiser, arrays.tensor("text_emb")[arrays[f"{side}_caption_index"]])
            for side in ("forget", "retain")
        }
        for side, mean in means.items():
            yield compare(f"c_{side}", mean, arrays[f"c_{side}"], NETWORK)
        deltas = {}
        for name, after in _edited(model, layers, arrays):
            yield compare(f"after/{name}.weight", after, arrays[f"after/{name}.weight"], NETWORK)
            before = model.denoiser.get_parameter(f"{name}.weight").double()
            yield compare(f"before/{name}.weight", before, arrays[f"before/{name}.weight"], 0.0)
            deltas[f"{name}.weight"] = after - before
        yield from _direction(model, arrays)
        yield from _answers(model, DeltaEdit(deltas), arrays)
    yield from _saved(case.parent / facts["edited_checkpoint"], model, arrays, facts["edited_keys"])
    yield from arrays.unread()


def _edited(model: Salad, layers: list[str], arrays: Arrays) -> Iterator[tuple[str, Tensor]]:
    direction = (arrays.tensor("c_forget") - arrays.tensor("c_retain")).double()
    for name in layers:
        weight = model.denoiser.get_parameter(f"{name}.weight").double()
        yield name, upstream_edits.fork_weight(weight, direction, float(arrays["uce_lambda"]))


def _direction(model: Salad, arrays: Arrays) -> Iterator[Check]:
    """The norm that the fork forgets to square, what follows from it, and matrices with the right one."""
    direction = (arrays.tensor("c_forget") - arrays.tensor("c_retain")).double()
    norm, strength = float(direction.norm()), float(arrays["uce_lambda"])
    yield compare("direction_norm", norm, arrays["direction_norm"], NETWORK)
    yield compare("gain_along_direction", abs(1 - strength * norm), arrays["gain_along_direction"], NETWORK)
    for key in (key for key in arrays if key.startswith("unit_norm_after/")):
        weight = model.denoiser.get_parameter(key.partition("/")[2]).double()
        ours = upstream_edits.fork_weight(weight, direction, strength / norm)
        yield compare(key, ours, arrays[key], NETWORK)


def _answers(model: Salad, edit: DeltaEdit, arrays: Arrays) -> Iterator[Check]:
    """Answers of the network without and with the edit, and without again."""
    texts = prompts(arrays, arrays["x_text_index"])
    inputs = (arrays.tensor("x"), arrays.tensor("t"), texts.tokens, texts.mask, arrays.tensor("len_mask"))
    plain = model.denoiser(*inputs)
    yield compare("pred_before", plain, arrays["pred_before"], NETWORK)
    with applied(model, [(edit, 1.0)]):
        yield compare("pred_after", model.denoiser(*inputs), arrays["pred_after"], NETWORK)
    yield exact("reverted", bool(torch.equal(model.denoiser(*inputs), plain)), True)


def _saved(folder: Path, model: Salad, arrays: Arrays, edited: list[str]) -> Iterator[Check]:
    """The fork's file: layout, edited matrices, everything else as in the base; our loader takes it."""
    tar = folder / "model" / "latest.tar"
    stored, base = read_state(tar, ("denoiser",), "a SALAD denoiser"), model.denoiser.state_dict()
    yield exact("file keys", sorted(load_tensors(tar)), ["denoiser", "epoch"])
    changed = sorted(key for key in base if not torch.equal(stored[key], base[key]))
    yield exact("file, changed", changed, sorted(edited))
    for key in edited:
        yield compare(f"file, {key}", stored[key], arrays[f"after/{key}"], NETWORK)
    again = load_authors(folder.parent, folder.name, denoiser_file=tar.name, variant="upstream")
    same = all(torch.equal(value, stored[key]) for key, value in again.denoiser.state_dict().items())
    yield exact("file, loaded by ours", same, True)


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"uce_rece": uce_rece, "unlearn_uce": unlearn_uce}
