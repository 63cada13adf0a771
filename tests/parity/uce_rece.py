"""HMU's port of UCE and RECE, and the SALAD fork's UCE, against ours (``variant: upstream``)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
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
from tests.parity.case import Case, Table, above, checkpoints, read_arrays, read_json
from tests.parity.checks import Checks, compare, deviation, exact, inside, nearest, unchecked
from tests.parity.fills import fills
from tests.parity.kinds import compares
from tests.parity.salad_models import LATEST, NETWORK, answer, model_for

SOLVED = 1e-8  # both sides in float64; ten rounds are ill-conditioned
SINGLE, ROUNDS = 1e-4, 2e-2  # the authors' float32 against float64: one solution, several rounds
ADVERSARY = 1e-3
FIRST = 1e-6  # float32 of the first edit: which recipe a case was run with
STATES = ("t2m_transformer", "res_transformer")
LIKELY = (("W{}", "b{}"), ("cond_emb.weight", "cond_emb.bias"))  # names of layers that are not stored
AFTER = r"f(32|64)_(?:W(\d+)_after|adv_iter)(\d+)"


# -- HMU: uce_rece -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Recipe:
    """What a JSON tells of a run, or else a guess: ``technique`` is ``tensor`` (projection) or the target prompt's."""

    technique: str
    scales: Scales
    ridge: float

    @classmethod
    def recorded(cls, facts: Mapping[str, Any], technique: str = "tensor", preserve: float = 0.1) -> Recipe:
        """From a JSON; what it lacks is as the authors' defaults."""
        scales = Scales(erase=float(facts.get("erase_scale", 0.1)), keep=float(facts.get("preserve_scale", preserve)),
                        ridge=float(facts.get("lamb", 0.1)))  # fmt: skip
        return cls(facts.get("technique", technique), scales, float(facts.get("regeular_scale", ADVERSARY)))

    @classmethod
    def guesses(cls, facts: Mapping[str, Any], name: str) -> Iterator[Recipe]:
        """Every recipe that a case without a JSON may mean; the words of its name come first."""
        techniques = sorted(("tensor", "replace"), key=lambda word: word not in name)
        said = re.search(r"preserve(\d)(\d*)", name)
        usual = (0.1, 0.5, 1.0)
        scales = [float(f"{said[1]}.{said[2] or 0}")] if said else usual
        for technique, preserve, erase, ridge in product(techniques, scales, usual, usual):
            yield cls.recorded({"erase_scale": erase, "lamb": ridge, **facts}, technique, preserve)

    def rounds(self, group: Group, count: int) -> list[tuple[dict[str, Tensor], Tensor | None]]:
        """Weights after UCE and after every round, with the embedding that the round erased."""
        target = "projection" if self.technique == "tensor" else "anchor"
        weights = {name: upstream_edits.solve(group, name, self.scales, target) for name in group.layers}
        rounds: list[tuple[dict[str, Tensor], Tensor | None]] = [(weights, None)]
        for _ in range(count):
            rounds.append(upstream_edits.rece_round(group, rounds[-1][0], self.scales, target, self.ridge))
        return rounds


@compares("uce_rece", files=())
def uce_rece(folder: Case) -> Checks:
    """Every ``<name>.npz`` with its ``<name>.json`` if there is one, and the checkpoints that the port saved."""
    for case in Case.each(folder.folder):
        yield from inside(case.part, [*_solved(case), *case.unread()])
    for place in above(folder.folder, 1):
        if (facts := place / "checkpoints" / "uce_rece.json").is_file():
            yield from _checkpoints(facts.parent, read_json(facts))


def group_of(layers: Mapping[str, tuple[Tensor, Tensor | None]], concept: Tensor, aim: Tensor, retain: Tensor) -> Group:
    """A group from the rows to keep themselves ``(rows, in)``."""
    double = {name: (w.double(), None if b is None else b.double()) for name, (w, b) in layers.items()}
    retain = retain.double()
    return Group(double, concept.double(), aim.double(), retain.T @ retain, retain.sum(0), len(retain))


def _groups(case: Case) -> Iterator[Group]:
    """Layers and texts; layers that are not stored are filled by the documented rules under likely names."""
    count = 1 + max((int(m[2]) for m in case.find(AFTER) if m[2]), default=-1)
    concept, retain = case["forget_emb"], case["retain_emb"]
    aim = case.get("target_emb")
    aim = torch.zeros_like(concept[:1]) if aim is None else aim
    if f"W{count - 1}" in case:
        layers = {str(i): (case[f"W{i}"], case.get(f"b{i}")) for i in range(count)}
        yield group_of(layers, concept, aim.expand_as(concept), retain)
        return
    shapes = [next(case.raw(m[0]).shape for m in case.find(AFTER) if m[2] == str(i)) for i in range(count)]
    for fill, (weight, bias) in product(fills(case.part, case.folder.name), LIKELY):
        filled = {}
        for i, shape in enumerate(shapes):
            named = {weight.format(i): shape, bias.format(i): shape[:1]}
            w, b = (torch.from_numpy(fill.values(name, size)).float() for name, size in named.items())
            filled[str(i)] = (w, b)
        yield group_of(filled, concept, aim.expand_as(concept), retain)


def _solved(case: Case) -> Checks:
    """Weights and adversarial embeddings of every recorded round."""
    last = max((int(m[3]) for m in case.find(AFTER)), default=0)
    edited = sorted((m for m in case.find(AFTER) if m[2] and m[3] == "0"), key=lambda m: m[1] != "64")
    first = next(iter(edited), None)  # in double precision if it is there: recipes may differ by little

    def error(guess: tuple[Group, Recipe]) -> float:
        return 0.0 if first is None else deviation(guess[1].rounds(guess[0], 0)[0][0][first[2]], case.raw(first[0]))

    guesses = ((g, r) for g in _groups(case) for r in Recipe.guesses(case.facts, case.part))
    group, recipe = nearest(guesses, error, close=SOLVED if first and first[1] == "64" else FIRST)
    rounds = recipe.rounds(group, last)
    loose = 1.5 * case.number("max_abs_f32_vs_f64", _spread(case)) + 1e-5
    for fit in case.find(AFTER):
        weights, adversary = rounds[int(fit[3])]
        double = fit[1] == "64"
        ours = {fit[0]: adversary if fit[2] is None else weights[fit[2]]}
        yield from case.given(ours, SOLVED if double else loose, absolute=not double)


def _spread(case: Case) -> float:
    """How far the authors' single precision is from their double, in this case."""
    pairs = [(m[0], m[0].replace("f32", "f64")) for m in case.find(AFTER) if m[1] == "32"]
    return max((float(np.abs(case.raw(a) - case.raw(b)).max()) for a, b in pairs if b in case), default=ROUNDS)


def _checkpoints(folder: Path, facts: Mapping[str, Any]) -> Checks:
    """The files that the port wrote: layout, what changed in them, and that our edit of the base gives the same."""
    case, hyper = Case(folder, read_arrays(folder / "uce_rece_vectors.npz")), facts["hyper"]
    read = {name: _read(folder, name) for name in facts["files"]}
    bases = {name.split("/")[0]: state for name, (_, state) in read.items() if name.endswith("/base.tar")}
    texts = {role: torch.stack([case[f"emb::{t}"] for t in hyper[role]]) for role in ("forget", "retain")}
    layers: dict[str, tuple[Tensor, Tensor | None]] = {
        part: (state["cond_emb.weight"], state["cond_emb.bias"]) for part, state in bases.items()
    }
    aim = case[f"emb::{hyper['target']}"].expand_as(texts["forget"])
    group = group_of(layers, texts["forget"], aim, texts["retain"])
    solved = Recipe.recorded({"preserve_scale": hyper["ps"]}).rounds(group, int(hyper["epochs"]))
    probe = case["probe_embeddings"]
    for name, recorded in facts["files"].items():
        content, state = read[name]
        part, file = name.split("/")[0], name.split("/")[-1]
        changed = [key for key, value in state.items() if not torch.equal(value, bases[part][key])]
        ours: dict[str, Any] = {"top_level_keys": sorted(content), "ep": content["ep"], "n_keys": len(state),
                                "changed_keys": sorted(changed)}  # fmt: skip
        for key in ours.keys() & recorded.keys():
            yield exact(
                f"{name} {key}", ours[key], sorted(recorded[key]) if isinstance(recorded[key], list) else recorded[key]
            )
        number = {"base.tar": None, f"UCE_{hyper['ps']}.tar": 0}.get(file, int(hyper["epochs"]))
        weight = group.layers[part][0] if number is None else solved[number][0][part]
        tolerance = ROUNDS if number else SINGLE
        yield compare(f"{name} cond_emb.weight", weight, state["cond_emb.weight"], tolerance)
        out = probe.double() @ weight.T + state["cond_emb.bias"].double()
        if (key := f"{part}::{file}::cond_emb_out") in case:
            yield compare(key, out, case.raw(key), tolerance)
    case.used |= {f"emb::{text}" for text in facts.get("text_order_of_probe", [])}
    yield from case.unread()


def _read(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A checkpoint of whichever data set folder holds it, and the state dictionary inside."""
    path = next(iter(sorted(folder.glob(f"*/{name}"))), folder / name)
    content = load_tensors(path)
    return content, next(content[key] for key in STATES if key in content)


# -- SALAD's fork: unlearn_uce -----------------------------------------------------------------------------------------
class Edited:
    """The fork's edit of a model: direction, matrices, and the edit as ours."""

    def __init__(self, case: Case, model: Salad) -> None:
        self.model, self.strength = model, case.number("uce_lambda", 3.0)
        self.means = {
            side: upstream_edits.mean_words(model.denoiser, case["text_emb"][case.raw(f"{side}_caption_index")])
            for side in ("forget", "retain")
        }
        stored = [case.get(f"c_{side}") for side in ("forget", "retain")]
        forget, retain = (self.means[s] if x is None else x for s, x in zip(self.means, stored, strict=True))
        self.direction = (forget - retain).double()
        names = [f"{name}.weight" for name in model.text_projections()]
        self.before = {name: model.denoiser.get_parameter(name).double() for name in names}
        self.edit = DeltaEdit({name: self.after(name) - weight for name, weight in self.before.items()})

    def after(self, name: str, norm: float = 1.0) -> Tensor:
        """A matrix after the edit; ``norm``: of the direction, where it is to be squared."""
        return upstream_edits.fork_weight(self.before[name], self.direction, self.strength / norm)

    def answer(self, case: Case, edited: bool) -> Tensor:
        """The network's answer."""
        with applied(self.model, [(self.edit, 1.0)] if edited else []):
            return answer(case, self.model)


UCE_ROWS: Table = {
    "c_(forget|retain)": lambda case, run, side: run.means[side],
    "before/(.+)": (lambda case, run, name: run.before[name], 0.0),
    "after/(.+)": lambda case, run, name: run.after(name),
    # the norm that the fork forgets to square, what follows from it, and matrices with the right one
    "direction_norm": lambda case, run: run.direction.norm(),
    "gain_along_direction": lambda case, run: abs(1 - run.strength * run.direction.norm()),
    "unit_norm_after/(.+)": lambda case, run, name: run.after(name, float(run.direction.norm())),
    "pred_before": lambda case, run: run.answer(case, False),
    "pred_after": lambda case, run: run.answer(case, True),
}


@compares("unlearn_uce")
def unlearn_uce(case: Case) -> Checks:
    """Mean words, edited matrices, answers before and after, the saved file; and the edit as ours, on and off."""
    if "base_checkpoint" in case.facts:
        base = Path(case.facts["base_checkpoint"])
        opt = next(path for path in checkpoints(case.folder) if path.parent.name == base.name)
        model = load_authors(opt.parents[1], base.name, variant="upstream")
    else:
        model = model_for(case, lambda model: deviation(answer(case, model), case.raw("pred_before")))
    run = Edited(case, model)
    if "edited_keys" in case.facts:
        yield exact("edited_keys", sorted(run.before), sorted(case.facts["edited_keys"]))
    yield from case.rows(run, UCE_ROWS, NETWORK)
    plain = run.answer(case, False)
    run.answer(case, True)
    yield exact("reverted", bool(torch.equal(run.answer(case, False), plain)), True)
    yield from _saved(case, run)


def _saved(case: Case, run: Edited) -> Checks:
    """The fork's file: layout, edited matrices, everything else as in the base; our loader takes it."""
    name = Path(str(case.facts.get("edited_checkpoint", ""))).name
    tar = next((path for path in checkpoints(case.folder, LATEST) if path.parents[1].name == name), None)
    if tar is None:
        yield unchecked("the edited file", "none is named")
        return
    stored, base = read_state(tar, ("denoiser",), "a SALAD denoiser"), run.model.denoiser.state_dict()
    yield exact("file keys", sorted(load_tensors(tar)), ["denoiser", "epoch"])
    changed = sorted(key for key in base if not torch.equal(stored[key], base[key]))
    yield exact("file, changed", changed, sorted(run.before))
    for key in run.before:
        yield compare(f"file, {key}", stored[key], run.after(key), NETWORK)
    again = load_authors(tar.parents[2], name, denoiser_file=tar.name, variant="upstream")
    same = all(torch.equal(value, stored[key]) for key, value in again.denoiser.state_dict().items())
    yield exact("file, loaded by ours", same, True)
