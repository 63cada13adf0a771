"""Parity of the HumanML3D evaluator: forwards (``guo_h3d``, ``guo_kit``) and full widths (``*_full``)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hmu.evaluators.guo import GuoEvaluator
from hmu.evaluators.guo.authors import ENCODERS, from_encoders, load_encoders
from hmu.evaluators.guo.evaluator import PUBLISHED
from hmu.evaluators.guo.networks import MovementDecoder
from hmu.evaluators.guo.vocabulary import CLASSES
from tests.parity.checks import Check, compare, exact

F32, F64 = 1e-5, 1e-9
Arrays = Mapping[str, np.ndarray]


def one_file(case: Path, pattern: str) -> Path:
    """The only file of that pattern below the case."""
    found = sorted(case.rglob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"{case.name}: expected one {pattern}, found {len(found)}")
    return found[0]


def as_tensor(array: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
    """A contiguous tensor of the array."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(dtype)


def read_json(path: Path) -> Any:
    """Parsed JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


# -- forwards ---------------------------------------------------------------------------------------------------------
def forwards(case: Path) -> Iterator[Check]:
    """Networks, embeddings in the caller's order and in the authors' order, with and without the random tail."""
    evaluator = from_encoders(load_encoders(one_file(case, "finest.tar")), case.name, variant="upstream")
    arrays = dict(np.load(one_file(case, "vectors.npz")))
    yield from width_checks(evaluator, read_json(case / "config.json"))
    yield from _statistics(evaluator, case)
    with torch.no_grad():
        for suffix, dtype, tolerance in (("", torch.float32, F32), ("_f64", torch.float64, F64)):
            evaluator.to(dtype)
            yield from _modules(evaluator, arrays, suffix, dtype, tolerance)
        yield from _joint(evaluator, arrays)
    if (case / "manifest_full.json").is_file():
        yield from _manifest(read_json(case / "manifest_full.json"))


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
    shared = sorted(set(ours) & set(config))
    yield exact("widths", {k: ours[k] for k in shared}, {k: config[k] for k in shared})


def _statistics(evaluator: GuoEvaluator, case: Path) -> Iterator[Check]:
    for path in sorted(case.rglob("meta")):
        mean, std = (np.load(path / f"{name}.npy", allow_pickle=False) for name in ("mean", "std"))
        evaluator.set_statistics(torch.from_numpy(mean), torch.from_numpy(std))
        yield compare(f"{path.parent.name} statistics", np.stack([evaluator.mean, evaluator.std]), [mean, std], 1e-6)


def _modules(
    evaluator: GuoEvaluator, arrays: Arrays, suffix: str, dtype: torch.dtype, tolerance: float
) -> Iterator[Check]:
    for name in sorted(arrays):
        expected = arrays.get(name + suffix)
        if expected is None or "_f64" in name:
            continue
        if name.startswith("mv_out"):
            ours = evaluator.movement_encoder(as_tensor(arrays[name.replace("mv_out", "mv_in", 1)], dtype))
        elif name == "me_out":
            ours = evaluator.motion_encoder(as_tensor(arrays["me_in"], dtype), torch.from_numpy(arrays["me_lens"]))
        elif name == "te_out":
            ours = _text(evaluator, arrays, dtype)
        else:
            continue
        yield compare(name + suffix, ours, expected, tolerance)


def _text(evaluator: GuoEvaluator, arrays: Arrays, dtype: torch.dtype = torch.float64) -> Tensor:
    words, classes = as_tensor(arrays["te_word"], dtype), as_tensor(arrays["te_pos"], dtype)
    return evaluator.text_encoder(words, classes, torch.from_numpy(arrays["te_lens"]))  # type: ignore[no-any-return]


def _joint(evaluator: GuoEvaluator, arrays: Arrays) -> Iterator[Check]:
    """The wrapper's outputs: the evaluator is called in real units and in the caller's order, then reordered."""
    lengths, order = torch.from_numpy(arrays["co_m_lens"]), arrays["co_order"]
    motions = as_tensor(arrays["co_motions"], torch.float64) * evaluator.std + evaluator.mean
    text = _text(evaluator, arrays)
    tail = evaluator.embed_motion(motions, lengths)
    evaluator.variant = "default"
    evaluator.max_frames = motions.shape[1]  # the stored arrays end there instead of at 196 frames
    silent = evaluator.embed_motion(motions, lengths)
    evaluator.variant = "upstream"
    yield compare("co_motion caller order", tail, arrays["co_motion_callerorder_f64"], F64)
    yield compare("co_text caller order", text, arrays["co_text_callerorder_f64"], F64)
    yield compare("co_motion", tail[order], arrays["co_motion"], F32)
    yield compare("co_text", text[order], arrays["co_text"], F32)
    yield exact("co_order sorts", sorted(order.tolist()), list(range(len(lengths))))
    yield compare("gm_motion", tail[order], arrays["gm_motion"], F32)
    yield compare("gm_motion_zero_tail", silent[order], arrays["gm_motion_zero_tail"], F32)
    yield compare("gt_text", text[order], arrays["gt_text"], F32)


def _manifest(manifest: Mapping[str, Any]) -> Iterator[Check]:
    """Every name, shape, dtype and parameter count of the published widths."""
    sizes = manifest["hyper_parameters"]
    with torch.device("meta"):
        modules = _full_modules(sizes)
        decoder = manifest["movement_autoencoder"]["hyper_parameters"]
        parts = {
            "movement_enc": modules["movement_encoder"],
            "movement_dec": MovementDecoder(
                decoder["dim_movement_latent"], decoder["dim_movement_dec_hidden"], sizes["dim_pose"]
            ),
        }
    for label, built, told in (
        ("manifest", modules, manifest["tensors"]),
        ("manifest of the movement auto-encoder", parts, manifest["movement_autoencoder"]["tensors"]),
    ):
        ours = {
            f"{part}.{name}": (list(value.shape), str(value.dtype).removeprefix("torch."))
            for part, module in built.items()
            for name, value in module.state_dict().items()
        }
        yield exact(label, ours, {name: (item["shape"], item["dtype"]) for name, item in told.items()})
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()}
    yield exact("manifest parameter counts", counts, manifest["n_parameters"])


def _full_modules(sizes: Mapping[str, Any]) -> dict[str, nn.Module]:
    evaluator = GuoEvaluator(
        features=sizes["dim_pose"],
        word=sizes["dim_word"],
        text_hidden=sizes["dim_text_hidden"],
        motion_hidden=sizes["dim_motion_hidden"],
        movement_hidden=sizes["dim_movement_enc_hidden"],
        movement_latent=sizes["dim_movement_latent"],
        width=sizes["dim_coemb_hidden"],
        **PUBLISHED,
    )
    return {name: getattr(evaluator, name) for name in ENCODERS}


# -- published widths, weights by formula -----------------------------------------------------------------------------
def formula(name: str, shape: torch.Size) -> Tensor:
    """The documented stand-in weights: ``s sin(0.37 i + crc32(name) mod 1000)``, computed in double."""
    values = np.sin(0.37 * np.arange(shape.numel(), dtype=np.float64) + zlib.crc32(name.encode()) % 1000)
    if len(shape) >= 2:
        values /= np.sqrt(shape.numel() / shape[0])
    else:
        values *= 0.1
    if name.endswith("output_net.1.weight"):
        values += 1
    return torch.from_numpy(values.reshape(tuple(shape)))


def full(case: Path) -> Iterator[Check]:
    """Published widths with weights by formula; the stored inputs are normalised motions and raw word vectors."""
    config = read_json(case / "config.json")
    modules = _full_modules(config.get("hyper_parameters", config))
    for part, module in modules.items():
        state = {name: formula(f"{part}.{name}", value.shape).float() for name, value in module.state_dict().items()}
        module.load_state_dict(state)
        module.eval()
    yield from formula_checks(modules, config.get("check", {}))
    arrays = dict(np.load(one_file(case, "*.npz")))
    encoders = {name: module.state_dict() for name, module in modules.items()}
    evaluator = from_encoders(encoders, case.name, variant="upstream").double()
    with torch.no_grad():
        yield from _full_outputs(evaluator, arrays)


def formula_checks(modules: Mapping[str, nn.Module], told: Any) -> Iterator[Check]:
    """config.json lists a few values per parameter: each of them must be among the filled weights."""
    for name, expected in told.items() if isinstance(told, Mapping) else ():
        part, _, parameter = name.partition(".")
        state = modules[part].state_dict() if part in modules else {}
        if parameter not in state:
            yield Check(f"check {name}", float("inf"), 0.0)
            continue
        values = torch.tensor(sorted(_floats(expected)), dtype=torch.float32)
        nearest = (state[parameter].flatten()[None] - values[:, None]).abs().amin(1)
        yield compare(f"check {name}", nearest, np.zeros(len(values)), 1e-6, absolute=True)


def _floats(told: Any) -> Iterator[float]:
    """All fractional numbers in a nested JSON value (whole numbers are indices)."""
    if isinstance(told, float):
        yield told
    elif isinstance(told, (list, Mapping)):
        for item in told.values() if isinstance(told, Mapping) else told:
            yield from _floats(item)


def _full_outputs(evaluator: GuoEvaluator, arrays: Arrays) -> Iterator[Check]:
    used = {"motions_f16", "word_f16", "pos_index", "order", "me_in", "me_lens", "me_in_f16"}
    motions = as_tensor(arrays["motions_f16"], torch.float64)
    count = len(motions)
    sizes = {n: a for n, a in arrays.items() if "len" in n and a.shape == (count,) and n != "me_lens"}
    motion_lengths = next(a for n, a in sizes.items() if not _names_text(n))
    words = [a for n, a in sizes.items() if _names_text(n)]
    classes = torch.nn.functional.one_hot(as_tensor(arrays["pos_index"], torch.int64), len(CLASSES)).double()
    text_lengths = words[0] if words else np.full(count, classes.shape[1])
    tokens = evaluator.movement(motions)
    joint = {
        "co_motion": evaluator.motion_encoder(tokens, torch.from_numpy(motion_lengths // evaluator.unit_length)),
        "co_text": evaluator.text_encoder(
            as_tensor(arrays["word_f16"], torch.float64), classes, torch.from_numpy(text_lengths)
        ),
    }
    order = arrays.get("order", np.arange(count))
    for name in sorted(set(arrays) - used - set(sizes)):
        expected = arrays[name]
        key = next((k for k in joint if name.startswith(k)), None)
        tolerance = F64 if name.endswith("f64") and "f16" not in name else F32
        if key is not None:
            ours = joint[key] if "caller" in name else joint[key][order]
        elif name.startswith(("mv_", "mov", "first")):
            ours = tokens[tuple(slice(0, n) for n in expected.shape)].reshape(expected.shape)
        elif name.startswith("me_out"):
            inputs = arrays["me_in"] if "me_in" in arrays else arrays["me_in_f16"]
            ours = evaluator.motion_encoder(as_tensor(inputs, torch.float64), torch.from_numpy(arrays["me_lens"]))
        else:
            yield Check(f"unknown array {name}", float("inf"), 0.0)
            continue
        yield compare(name, ours, expected, tolerance)


def _names_text(name: str) -> bool:
    return any(part in name for part in ("cap", "sent", "te_", "text", "word"))


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "guo_h3d": forwards,
    "guo_kit": forwards,
    "guo_h3d_full": full,
    "guo_kit_full": full,
}
