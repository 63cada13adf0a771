"""Parity of the HumanML3D evaluator: forwards with stored weights, and at published widths with weights by rule."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.errors import CheckpointError
from hmu.evaluators.guo import GuoEvaluator
from hmu.evaluators.guo.authors import ENCODERS, from_encoders, load_encoders
from hmu.evaluators.guo.evaluator import PUBLISHED
from hmu.evaluators.guo.networks import MovementDecoder
from hmu.evaluators.guo.vocabulary import CLASSES
from tests.parity.case import DOUBLE, Case, Table, once, read_json
from tests.parity.checks import Checks, compare, exact, nearest, unchecked
from tests.parity.fills import filled, fills
from tests.parity.kinds import compares
from tests.parity.manifests import MANIFEST, published, shape_of

F32 = 1e-5
#: the authors' names of widths, ours, and the values that their code has in it
SIZES = {
    "dim_word": ("word", 300),
    "dim_text_hidden": ("text_hidden", 512),
    "dim_motion_hidden": ("motion_hidden", 1024),
    "dim_movement_enc_hidden": ("movement_hidden", 512),
    "dim_movement_latent": ("movement_latent", 512),
    "dim_coemb_hidden": ("width", 512),
    "dim_pose": ("features", 263),
}
UNIT = 4
HOLDS = (".npz", ".json", "checkpoints")
KINDS = ("guo_h3d", "guo_kit")
OF_TEXT = ("cap", "sent", "te_", "text", "word")


def nearest_file(folder: Path, name: str) -> Path:
    """The file of that name below the case.

    Raises:
        CheckpointError: there is none, or more than one.
    """
    paths = sorted(folder.rglob(name))
    if len(paths) != 1:
        raise CheckpointError(f"{folder.name}: expected one {name}, found {len(paths)}")
    return paths[0]


def stored_evaluator(folder: Path) -> GuoEvaluator:
    """The evaluator of a case's only file."""
    return from_encoders(load_encoders(nearest_file(folder, "finest.tar")), folder.name, variant="upstream")


def whole(value: Any) -> int | None:
    """A whole number, also one written as text (``"512"``, ``"512 (published)"``); None where there is none."""
    digits = re.search(r"\d+", str(value)) if isinstance(value, (int, float, str)) else None
    return int(digits[0]) if digits else None


def widths(case: Case, *names: str) -> dict[str, int]:
    """Widths: what arrays tell, then the JSON settings, then the nearest manifest, then the authors' code."""
    settings = {**case.facts, **case.settings("hyper_parameters")}
    near = published(case.folder, *names)
    text = " ".join(str(value) for value in settings.values() if isinstance(value, str))
    arrays = {
        "dim_pose": case.last("motions", "co_motions"),
        "dim_word": case.last("word", "te_word"),
        "dim_movement_latent": case.last("me_in", "mv_out"),
        "dim_coemb_hidden": case.last("co_motion", "co_text", "me_out", "te_out"),
    }
    usual = {key: value for key, (_, value) in SIZES.items()} | ({"dim_pose": 251} if "kit" in case.folder.name else {})
    return {
        key: arrays.get(key) or whole(settings.get(key)) or _said(key, text) or whole(near.get(key)) or value
        for key, value in usual.items()
    }


def _said(key: str, text: str) -> int | None:
    """A width in running text, after its name: ``dim_text_hidden: 512`` or ``text hidden 512``."""
    words = r"[\s_]*".join(key.removeprefix("dim_").split("_"))
    said = re.search(rf"(?:dim_)?{words}\W+(\d+)", text)
    return int(said[1]) if said else None


def modules_of(sizes: Mapping[str, int]) -> dict[str, nn.Module]:
    """The three encoders of given widths."""
    own: dict[str, Any] = {ours: sizes[theirs] for theirs, (ours, _) in SIZES.items()}
    evaluator = GuoEvaluator(**PUBLISHED, **own)
    return {name: getattr(evaluator, name) for name in ENCODERS}


def _order(case: Case, lengths: np.ndarray) -> np.ndarray:
    """The authors' order: as recorded, else longest first, ties in reverse."""
    name = case.first("co_order", "order")
    return case.raw(name) if name else np.argsort(lengths, kind="stable")[::-1].copy()


# -- forwards ----------------------------------------------------------------------------------------------------------
def _text(case: Case, evaluator: GuoEvaluator) -> Tensor:
    return evaluator.text_encoder(case["te_word"], case["te_pos"], case["te_lens"])


MODULE_ROWS: Table = {
    "mv_out(.*)": lambda case, evaluator, size: evaluator.movement_encoder(case[f"mv_in{size}"]),
    "me_out": lambda case, evaluator: evaluator.motion_encoder(case["me_in"], case["me_lens"]),
    "te_out": _text,
}


@once
def _motion(case: Case, evaluator: GuoEvaluator, variant: str = "upstream") -> Tensor:
    """The evaluator is called in real units and in the caller's order; the stored arrays are normalised."""
    motions = case["co_motions"].double() * evaluator.std + evaluator.mean
    evaluator.variant, before = variant, evaluator.max_frames
    evaluator.max_frames = motions.shape[1]  # the stored arrays end there instead of at 196 frames
    embedded = evaluator.embed_motion(motions, case["co_m_lens"])
    evaluator.variant, evaluator.max_frames = "upstream", before
    return embedded


def _sorted(case: Case, embedded: Tensor) -> Tensor:
    return embedded[_order(case, case.raw("co_m_lens"))]


JOINT_ROWS: Table = {
    "co_motion_callerorder": _motion,
    "co_text_callerorder": lambda case, evaluator: _text(case.double(), evaluator),
    "(?:co|gm)_motion": lambda case, evaluator: _sorted(case, _motion(case, evaluator)),
    "(?:co|gt)_text": lambda case, evaluator: _sorted(case, _text(case.double(), evaluator)),
    "gm_motion_zero_tail": lambda case, evaluator: _sorted(case, _motion(case, evaluator, "default")),
}


@compares(*KINDS, known=HOLDS)
def forwards(case: Case) -> Checks:
    """Networks, embeddings in the caller's order and in the authors' order, with and without the random tail."""
    evaluator = stored_evaluator(case.folder)
    yield from width_checks(evaluator, case.facts)
    for path in sorted(case.folder.rglob("meta")):
        mean, std = (np.load(path / f"{name}.npy", allow_pickle=False) for name in ("mean", "std"))
        evaluator.statistics.assign(mean, std)
        yield compare(f"{path.parent.name} statistics", np.stack([evaluator.mean, evaluator.std]), [mean, std], 1e-6)
    yield from case.table(evaluator, MODULE_ROWS, F32)
    evaluator.double()
    yield from case.rows(evaluator, JOINT_ROWS, F32)
    yield from case.double().rows(evaluator, JOINT_ROWS, DOUBLE)
    if "co_order" in case:
        yield exact("co_order", sorted(case.raw("co_order")), list(range(len(case.raw("co_order")))))
    if (path := case.folder / MANIFEST).is_file():
        yield from _manifest(read_json(path))


def width_checks(evaluator: GuoEvaluator, config: Mapping[str, Any]) -> Checks:
    """Widths inferred from tensor shapes against those that config.json tells."""
    ours = {theirs: getattr(evaluator, name) for theirs, (name, _) in SIZES.items()}
    ours |= {"dim_pos_ohot": len(CLASSES), "unit_length": evaluator.unit_length}
    recorded = {key: number for key in ours if (number := whole(config.get(key))) is not None}
    yield exact("widths", {key: ours[key] for key in recorded}, recorded)


def _manifest(listed: Mapping[str, Any]) -> Checks:
    """Every name, shape, dtype and parameter count of the published widths."""
    sizes, coder = listed["hyper_parameters"], listed["movement_autoencoder"]
    with torch.device("meta"):
        modules = modules_of(sizes)
        numbers = coder["hyper_parameters"]
        decoder = MovementDecoder(numbers["dim_movement_latent"], numbers["dim_movement_dec_hidden"], sizes["dim_pose"])
        parts = {"movement_enc": modules["movement_encoder"], "movement_dec": decoder}
    for label, built, recorded in (("manifest", modules, listed), ("movement auto-encoder", parts, coder)):
        ours = {f"{part}.{n}": shape_of(v) for part, module in built.items() for n, v in module.state_dict().items()}
        listing = {name: {key: item[key] for key in ("shape", "dtype")} for name, item in recorded["tensors"].items()}
        yield exact(label, ours, listing)
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()}
    yield exact("manifest parameter counts", counts, listed["n_parameters"])


# -- published widths, weights by rule ---------------------------------------------------------------------------------
def formula_checks(modules: Mapping[str, nn.Module] | nn.ModuleDict, listed: Any) -> Checks:
    """config.json lists a few values per parameter: each of them must be among the filled weights."""
    for name, expected in listed.items() if isinstance(listed, Mapping) else ():
        part, _, parameter = name.partition(".")
        state = modules[part].state_dict() if part in modules else {}
        if parameter not in state:
            yield unchecked(f"check {name}", "no parameter of this name")
            continue
        values = torch.tensor(sorted(_fractions(expected)), dtype=torch.float32)
        nearby = (state[parameter].flatten()[None] - values[:, None]).abs().amin(1)
        yield compare(f"check {name}", nearby, np.zeros(len(values)), 1e-6, absolute=True)


def _fractions(content: Any) -> Iterator[float]:
    """All fractional numbers in a nested JSON value (whole numbers are indices)."""
    if isinstance(content, float):
        yield content
    elif isinstance(content, (list, Mapping)):
        for item in content.values() if isinstance(content, Mapping) else content:
            yield from _fractions(item)


class Encoders(nn.ModuleDict):
    """The three encoders at published widths, on normalised motions and raw word vectors."""

    def movement(self, case: Case) -> Tensor:
        """Movement tokens of the stored motions."""
        return self["movement_encoder"](case["motions"][..., :-4])

    def motion(self, case: Case) -> Tensor:
        """Motion embeddings in the caller's order."""
        return self["motion_encoder"](self.movement(case), lengths_of(case, False) // UNIT)

    def text(self, case: Case) -> Tensor:
        """Text embeddings in the caller's order."""
        classes = F.one_hot(case["pos_index"].long(), len(CLASSES)).to(case.dtype)
        return self["text_encoder"](case["word"], classes, lengths_of(case, True))

    def sorted(self, case: Case, embedded: Tensor) -> Tensor:
        """The same in the authors' order."""
        return embedded[_order(case, lengths_of(case, False).numpy())]


def lengths_of(case: Case, of_text: bool) -> Tensor:
    """Frames of the motions, or tokens of the texts (all of them where none are stored)."""
    rows = len(case.raw("motions"))
    named = (name for name in case.names() if "len" in name and case.dims(name) == 1 and name != "me_lens")
    for name in named:
        if any(part in name for part in OF_TEXT) == of_text and len(case.raw(name)) == rows:
            return case[name]
    return torch.full((rows,), case.raw("pos_index" if of_text else "motions").shape[1])


def _tokens(case: Case, encoders: Encoders, name: str) -> Tensor:
    """Movement tokens; the stored array may hold the first ones only."""
    expected = next(case.raw(fit[0]) for fit in case.find(rf"{re.escape(name)}(_f64)?"))
    return encoders.movement(case)[tuple(slice(0, n) for n in expected.shape)].reshape(expected.shape)


FULL_ROWS: Table = {
    "co_motion_callerorder": lambda case, encoders: encoders.motion(case),
    "co_text_callerorder": lambda case, encoders: encoders.text(case),
    "(?:co|gm)_motion": lambda case, encoders: encoders.sorted(case, encoders.motion(case)),
    "(?:co|gt)_text": lambda case, encoders: encoders.sorted(case, encoders.text(case)),
    "((?:mv_|mov|first).*)": _tokens,
    "me_out": lambda case, encoders: encoders["motion_encoder"](case["me_in"], case["me_lens"]),
}


def without_weights(folder: Path) -> bool:
    """Whether a case stores no weights."""
    return next(folder.rglob("finest.tar"), None) is None


@compares(*KINDS, *(f"{kind}_full" for kind in KINDS), claims=without_weights)
def full(case: Case) -> Checks:
    """Published widths with weights by rule."""
    sizes, listed = widths(case, case.folder.name.replace("_full", "")), case.facts.get("check", {})
    first = case.first("co_motion", "co_motion_callerorder_f64", "me_out")

    def candidates() -> Iterator[Encoders]:
        for fill in fills(case.folder.name, moved=(True, False)):
            parts = {name: filled(module, fill.under(f"{name}.")) for name, module in modules_of(sizes).items()}
            yield Encoders(parts).eval()

    def error(encoders: Encoders) -> float:
        off = sum(check.deviation for check in formula_checks(encoders, listed))
        return off + case.off(encoders, FULL_ROWS, first)

    encoders = nearest(candidates(), error)
    yield from formula_checks(encoders, listed)
    yield from case.table(encoders, FULL_ROWS, F32)
