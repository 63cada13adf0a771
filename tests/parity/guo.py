"""Parity of the HumanML3D evaluator: forwards (``guo_h3d``, ``guo_kit``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hmu.errors import CheckpointError
from hmu.evaluators.guo import GuoEvaluator
from hmu.evaluators.guo.authors import ENCODERS, from_encoders, load_encoders
from hmu.evaluators.guo.evaluator import PUBLISHED
from hmu.evaluators.guo.networks import MovementDecoder
from hmu.evaluators.guo.vocabulary import CLASSES
from tests.parity.case import DOUBLE, Case, Table, published, read_json, strange
from tests.parity.checks import Check, compare, exact

F32 = 1e-5
#: the widths that the authors' code has in it, under their names
WIDTHS = {
    "dim_word": 300,
    "dim_text_hidden": 512,
    "dim_motion_hidden": 1024,
    "dim_movement_enc_hidden": 512,
    "dim_movement_latent": 512,
    "dim_coemb_hidden": 512,
}
UNIT = 4
Variant = Literal["default", "upstream"]


def nearest_file(folder: Path, name: str) -> Path:
    """The file of that name below the case.

    Raises:
        CheckpointError: there is none, or more than one.
    """
    found = sorted(folder.rglob(name))
    if len(found) != 1:
        raise CheckpointError(f"{folder.name}: expected one {name}, found {len(found)}")
    return found[0]


def whole(told: Any) -> int | None:
    """A whole number, also one told as text (``"512"``, ``"512 (published)"``); None where there is none."""
    found = re.search(r"\d+", str(told)) if isinstance(told, (int, float, str)) else None
    return int(found[0]) if found else None


def widths(case: Case, *names: str) -> dict[str, int]:
    """Widths: what arrays tell, then the JSON settings, then the nearest manifest, then the authors' code."""
    settings = {**case.facts, **case.settings("hyper_parameters")}
    near = published(case.folder, *names)
    text = " ".join(str(value) for value in settings.values() if isinstance(value, str))
    told = {key: m for key, value in WIDTHS.items()
            if (m := whole(settings.get(key)) or _said(key, text) or whole(near.get(key)) or value)}  # fmt: skip
    features = case.last("motions", "co_motions") or whole(settings.get("dim_pose"))
    arrays = {
        "dim_pose": features or (251 if "kit" in case.folder.name else 263),
        "dim_word": case.last("word", "te_word"),
        "dim_movement_latent": case.last("me_in", "mv_out"),
        "dim_coemb_hidden": case.last("co_motion", "co_text", "me_out", "te_out"),
    }
    return told | {key: value for key, value in arrays.items() if value is not None}


def _said(key: str, text: str) -> int | None:
    """A width in running text, after its name: ``dim_text_hidden: 512`` or ``text hidden 512``."""
    words = r"[\s_]*".join(key.removeprefix("dim_").split("_"))
    found = re.search(rf"(?:dim_)?{words}\W+(\d+)", text)
    return int(found[1]) if found else None


def modules_of(sizes: Mapping[str, int]) -> dict[str, nn.Module]:
    """The three encoders of given widths."""
    evaluator = GuoEvaluator(
        **PUBLISHED,
        features=sizes["dim_pose"],
        word=sizes["dim_word"],
        text_hidden=sizes["dim_text_hidden"],
        motion_hidden=sizes["dim_motion_hidden"],
        movement_hidden=sizes["dim_movement_enc_hidden"],
        movement_latent=sizes["dim_movement_latent"],
        width=sizes["dim_coemb_hidden"],
    )
    return {name: getattr(evaluator, name) for name in ENCODERS}


# -- forwards ----------------------------------------------------------------------------------------------------------
def _text(case: Case, evaluator: GuoEvaluator) -> Tensor:
    return evaluator.text_encoder(case["te_word"], case["te_pos"], case["te_lens"])


MODULE_ROWS: Table = {
    "mv_out(.*)": lambda case, evaluator, size: evaluator.movement_encoder(case[f"mv_in{size}"]),
    "me_out": lambda case, evaluator: evaluator.motion_encoder(case["me_in"], case["me_lens"]),
    "te_out": _text,
}


def _motion(case: Case, evaluator: GuoEvaluator, variant: Variant = "upstream") -> Tensor:
    """The evaluator is called in real units and in the caller's order; the stored arrays are normalised."""

    def run() -> Tensor:
        motions = case["co_motions"].double() * evaluator.std + evaluator.mean
        evaluator.variant, before = variant, evaluator.max_frames
        evaluator.max_frames = motions.shape[1]  # the stored arrays end there instead of at 196 frames
        embedded = evaluator.embed_motion(motions, case["co_m_lens"])
        evaluator.variant, evaluator.max_frames = "upstream", before
        return embedded

    return case.once(variant, run)


def _order(case: Case) -> np.ndarray:
    """The authors' order: as recorded, else longest first, ties in reverse."""
    return case.raw("co_order") if "co_order" in case else np.argsort(case.raw("co_m_lens"), kind="stable")[::-1]


JOINT_ROWS: Table = {
    "co_motion_callerorder": _motion,
    "co_text_callerorder": lambda case, evaluator: _text(case.double(), evaluator),
    "co_order": lambda case, _: (sorted(case.raw("co_order")), np.arange(len(case.raw("co_order"))), 0.0),
    "(?:co|gm)_motion": lambda case, evaluator: _motion(case, evaluator)[_order(case).copy()],
    "(?:co|gt)_text": lambda case, evaluator: _text(case.double(), evaluator)[_order(case).copy()],
    "gm_motion_zero_tail": lambda case, evaluator: _motion(case, evaluator, "default")[_order(case).copy()],
}


def forwards(folder: Path) -> Iterator[Check]:
    """Networks, embeddings in the caller's order and in the authors' order, with and without the random tail."""
    yield from strange(folder, ".npz", ".json", "checkpoints")
    case = Case.read(folder)
    evaluator = from_encoders(load_encoders(nearest_file(folder, "finest.tar")), folder.name, variant="upstream")
    yield from width_checks(evaluator, case.facts)
    for path in sorted(folder.rglob("meta")):
        mean, std = (np.load(path / f"{name}.npy", allow_pickle=False) for name in ("mean", "std"))
        evaluator.statistics.assign(mean, std)
        yield compare(f"{path.parent.name} statistics", np.stack([evaluator.mean, evaluator.std]), [mean, std], 1e-6)
    with torch.no_grad():
        yield from case.table(evaluator, MODULE_ROWS, F32)
        evaluator.double()
        yield from case.rows(evaluator, JOINT_ROWS, F32)
        yield from case.double().rows(evaluator, JOINT_ROWS, DOUBLE)
    if (path := folder / "manifest_full.json").is_file():
        yield from _manifest(read_json(path))
    yield from case.unread()


def width_checks(evaluator: GuoEvaluator, config: Mapping[str, Any]) -> Iterator[Check]:
    """Widths inferred from tensor shapes against those that config.json tells."""
    ours = {
        "dim_pose": evaluator.features,
        "dim_word": evaluator.word,
        "dim_pos_ohot": len(CLASSES),
        "dim_movement_enc_hidden": evaluator.movement_encoder.main[0].out_channels,
        "dim_movement_latent": evaluator.movement_encoder.out_net.out_features,
        "dim_text_hidden": evaluator.text_encoder.gru.hidden_size,
        "dim_motion_hidden": evaluator.motion_encoder.gru.hidden_size,
        "dim_coemb_hidden": evaluator.width,
        "unit_length": evaluator.unit_length,
    }
    told = {key: number for key in ours if (number := whole(config.get(key))) is not None}
    yield exact("widths", {key: ours[key] for key in told}, told)


def _manifest(listed: Mapping[str, Any]) -> Iterator[Check]:
    """Every name, shape, dtype and parameter count of the published widths."""
    sizes, coder = listed["hyper_parameters"], listed["movement_autoencoder"]
    with torch.device("meta"):
        modules = modules_of(sizes)
        numbers = coder["hyper_parameters"]
        decoder = MovementDecoder(numbers["dim_movement_latent"], numbers["dim_movement_dec_hidden"], sizes["dim_pose"])
        parts = {"movement_enc": modules["movement_encoder"], "movement_dec": decoder}
    for label, built, told in (("manifest", modules, listed), ("movement auto-encoder", parts, coder)):
        yield exact(label, shapes(built), {n: (item["shape"], item["dtype"]) for n, item in told["tensors"].items()})
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()}
    yield exact("manifest parameter counts", counts, listed["n_parameters"])


def shapes(modules: Mapping[str, nn.Module]) -> dict[str, tuple[list[int], str]]:
    """Shape and type of every tensor under ``<part>.<name>``."""
    states = {f"{part}.{n}": v for part, module in modules.items() for n, v in module.state_dict().items()}
    return {name: (list(value.shape), str(value.dtype).removeprefix("torch.")) for name, value in states.items()}


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "guo_h3d": forwards,
    "guo_kit": forwards,
}
