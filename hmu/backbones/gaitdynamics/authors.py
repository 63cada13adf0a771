"""GaitDynamics from the authors' files, and the Hydra target.

They are read without running what they contain. Three layouts of one content: the trainer's ``.pt``, the published
``.pt``, and its split in three. All are pickles that name Python classes; those few names are answered with empty
classes of ours, every other name is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.backbones.gaitdynamics.model import GaitDynamics
from hmu.backbones.gaitdynamics.options import DecoderOptions, ObjectiveOptions, SamplingOptions, ScheduleOptions
from hmu.backbones.options import changed
from hmu.checkpoints.authors import State, count, take
from hmu.checkpoints.pretrained import builds, check_names
from hmu.checkpoints.safe import load_tensors
from hmu.documents import sha256
from hmu.errors import CheckpointError
from hmu.gait.columns import WINDOW
from hmu.gait.normaliser import MinMax

SCHEDULE = ScheduleOptions(timesteps=1000, beta_schedule="linear", beta_start=1e-4, beta_end=2e-2, predict="sample")
OBJECTIVE = ObjectiveOptions(loss="l2", p2=False, simple=1.0, velocity=0.0, drift=0.0, fk=0.0, slide=0.0, height=1.7)
SAMPLING = SamplingOptions(steps=50, guide_from=1000, guide_to=0, guide_steps=1, guide_rate=0.05)
#: what no file of the authors' tells
PUBLISHED = {"schedule": SCHEDULE, "adapters": "all", "min_frames": 20, "max_frames": WINDOW, "variant": "default"}
WHAT = "GaitDynamics network"
LAYER = "seqTransDecoder.stack."
UNUSED = "multihead_attn"  # the cross-attention block that is stored and never run
_PART = re.compile(r"(.+)_part[123]\.pt")
_TABLES = ("scale_", "min_", "data_min_", "data_max_", "data_range_")
_SCALER = {"feature_range", "copy", "clip", "n_samples_seen_", *_TABLES}
_MODULES = {"Normalizer": ("data.preprocess", "__main__"), "MinMaxScaler": ("data.scaler", "__main__")}
#: empty classes that answer to these names in a pickle; their instances can only hold plain attributes
_STUBS = [type(name, (), {"__module__": module}) for name, modules in _MODULES.items() for module in modules]


class Published(NamedTuple):
    """What a checkpoint holds: tensors under the authors' names, and the ranges of the training data."""

    state: State
    normaliser: MinMax


def read_top(path: Path, expected: Mapping[str, str]) -> dict[str, Any]:
    """The top level of one file; every key must be among ``expected`` (key -> what it is)."""
    with torch.serialization.safe_globals([*_STUBS, range]):  # type: ignore[list-item]
        content = load_tensors(path)
    unknown = sorted(set(map(str, content)) - set(expected))
    if unknown:
        known = ", ".join(f"{key} ({what})" for key, what in expected.items())
        raise CheckpointError(f"{path}: holds '{unknown[0]}', expected {known}; not a file of GaitDynamics")
    return content


def tensors_of(path: Path, key: str, content: Any) -> State:
    """``content`` of ``key``, if it is tensors of any shapes by name."""
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path}: '{key}' is not a mapping of names to tensors; not a file of GaitDynamics")
    return {str(name): value for name, value in content.items()}


def normaliser_of(path: Path, stored: Any) -> MinMax:
    """Our normaliser from the pickled one, whose attributes are checked one by one."""
    outer = vars(stored) if type(stored) in _STUBS else {}
    scaler = vars(outer["scaler"]) if type(outer.get("scaler")) in _STUBS else {}
    columns = outer.get("cols_to_normalize")
    strange = (set(outer) - {"scaler", "cols_to_normalize"}) | (set(scaler) - _SCALER)
    tables = {name: scaler.get(name) for name in _TABLES}
    sizes = {tuple(value.shape) for value in tables.values() if isinstance(value, Tensor)}
    complete = all(isinstance(value, Tensor) for value in tables.values()) and len(sizes) == 1
    plain = isinstance(columns, range) and scaler.get("feature_range") == (-10, 10)
    if strange or not complete or not plain or columns != range(next(iter(sizes))[0]):
        what = f"unknown attribute '{min(strange)}'" if strange else "missing or misshapen attributes"
        raise CheckpointError(
            f"{path}: its normaliser has {what}, expected the published min-max scaler of all columns"
        )
    result = MinMax(next(iter(sizes))[0])
    for name, value in tables.items():
        getattr(result, name).copy_(value)
    result.samples = int(scaler.get("n_samples_seen_", 0))
    return result


def parts_of(path: Path) -> list[Path]:
    """The files of a checkpoint: itself, or all three parts where one of them (or their common name) is given."""
    match = _PART.fullmatch(path.name)
    stem = match.group(1) if match else path.name.removesuffix(".pt")
    parts = [path.with_name(f"{stem}_part{number}.pt") for number in (1, 2, 3)]
    if match is None and (path.is_file() or not parts[0].is_file()):
        return [path]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise CheckpointError(f"{path}: the split checkpoint lacks {', '.join(missing)}; put its three parts together")
    return parts


def read_checkpoint(path: Path | str) -> Published:
    """A checkpoint of the authors: the trainer's ``.pt``, the published one, or its three parts (name any of them).

    Raises:
        CheckpointError: missing, broken or unsafe file, or one that holds anything else; one line names it.
    """
    state: State = {}
    normaliser = None
    for part in parts_of(Path(path)):
        content = read_top(part, {"ema_state_dict": "averaged weights", "normalizer": "ranges of the columns"})
        if "ema_state_dict" not in content:
            raise CheckpointError(
                f"{part}: 'ema_state_dict' is missing; the trainer writes nothing but averaged weights"
            )
        state |= tensors_of(part, "ema_state_dict", content["ema_state_dict"])
        if "normalizer" in content:
            normaliser = normaliser_of(part, content["normalizer"])
    if normaliser is None:
        raise CheckpointError(f"{path}: 'normalizer' is missing, which no other file tells; copy the checkpoint again")
    return Published(state, normaliser)


def read_adapter(path: Path | str) -> tuple[dict[str, tuple[Tensor, Tensor]], MinMax | None]:
    """``{linear layer: (A, B)}`` by the authors' names, ``(rank, in)`` and ``(out, rank)``, and the normaliser.

    An adapter file does not hold alpha, which the authors keep in ``config.json`` beside it.
    """
    path = Path(path)
    content = read_top(path, {"lora_state_dict": "adapter weights", "normalizer": "ranges of the columns"})
    if "lora_state_dict" not in content:
        raise CheckpointError(f"{path}: 'lora_state_dict' is missing, expected an adapter file of GaitDynamics")
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors_of(path, "lora_state_dict", content["lora_state_dict"]).items():
        layer, dot, leaf = name.removesuffix(".weight").rpartition(".")
        if not dot or leaf not in ("lora_A", "lora_B") or value.dim() != 2:
            raise CheckpointError(f"{path}: '{name}' is no adapter weight, expected <layer>.lora_A.weight or lora_B")
        pairs.setdefault(layer, {})[leaf] = value
    for layer, pair in pairs.items():
        if len(pair) != 2 or pair["lora_A"].shape[0] != pair["lora_B"].shape[1]:
            raise CheckpointError(f"{path}: the adapter of '{layer}' is not a pair of matrices that fit each other")
    normaliser = normaliser_of(path, content["normalizer"]) if "normalizer" in content else None
    return {layer: (pair["lora_A"], pair["lora_B"]) for layer, pair in pairs.items()}, normaliser


def options_of(
    state: Mapping[str, Tensor], path: Path | str, heads: int = 4, dropout: float = 0.1, window: int = WINDOW
) -> DecoderOptions:
    """Sizes of a network from its shapes; heads, window and dropout are in no shape."""
    latent, features = take(state, "input_projection.weight", path, WHAT).shape
    return DecoderOptions(
        features=features,
        window=window,
        latent_dim=latent,
        ff_dim=take(state, f"{LAYER}0.linear1.weight", path, WHAT).shape[0],
        layers=count(state, rf"{re.escape(LAYER)}(\d+)\."),
        heads=heads,
        dropout=dropout,
        rotary="rotary.freqs" in state,
    )


def to_ours(state: Mapping[str, Tensor]) -> State:
    """The authors' names to ours: one projection ``(3 width, width)`` becomes three; what never acts is left out."""
    ours: State = {}
    for name, value in state.items():
        if f".{UNUSED}." in name or (name.startswith(LAYER) and name.endswith(".rotary.freqs")):
            continue
        module, joined, leaf = name.partition(".in_proj_")
        if not joined:
            ours[name] = value
            continue
        for letter, third in zip("qkv", value.chunk(3), strict=True):
            ours[f"{module}.{letter}_proj.{leaf}"] = third
    return ours


def to_published(decoder: Decoder) -> State:
    """The weights under the authors' names, in their order; the block that they never run is filled with zeros."""
    state, options = decoder.state_dict(), decoder.options
    theirs: State = {}

    def copy(prefix: str, *modules: str) -> None:
        for module in modules:
            theirs.update(
                {f"{prefix}{module}.{leaf}": state[f"{prefix}{module}.{leaf}"] for leaf in ("weight", "bias")}
            )

    positions = "rotary.freqs" if options.rotary else "abs_pos_encoding.pe"
    theirs[positions] = state[positions]
    copy("", "time_mlp.1", "input_projection", "to_time_cond.0")
    for index in range(options.layers):
        layer = f"{LAYER}{index}."
        for leaf in ("weight", "bias"):
            thirds = [state[f"{layer}self_attn.{letter}_proj.{leaf}"] for letter in "qkv"]
            theirs[f"{layer}self_attn.in_proj_{leaf}"] = torch.cat(thirds)
        copy(layer, "self_attn.out_proj")
        own = {name: value for name, value in theirs.items() if name.startswith(f"{layer}self_attn.")}
        theirs |= {name.replace("self_attn", UNUSED): torch.zeros_like(value) for name, value in own.items()}
        copy(layer, "linear1", "linear2", "norm1", "norm3", "film1.block.1", "film3.block.1")
        if options.rotary:
            theirs[f"{layer}rotary.freqs"] = state["rotary.freqs"]
    copy("", "final_layer")
    return theirs


def load_into(decoder: Decoder, state: Mapping[str, Tensor], path: Path | str) -> None:
    """Load the authors' tensors, whose shapes must be ours; missing and unknown ones are refused too."""
    check_names(to_published(decoder), state, path, "the published layout")
    decoder.load_state_dict(to_ours(state))


def load_authors(
    path: Path | str, *, decoder: DecoderOptions | Mapping[str, Any] | None = None, **options: Any
) -> GaitDynamics:
    """A model from the authors' file, as :func:`read_checkpoint` reads it; what is not given is as published.

    Args:
        decoder: heads, dropout and window of the network, which no shape tells.
        options: further arguments of :class:`GaitDynamics`.
    """
    path = Path(path)
    content = read_checkpoint(path)
    configured = decoder if isinstance(decoder, Mapping) else vars(decoder) if decoder else {}
    untold = {name: configured.get(name) for name in ("heads", "dropout", "window")}
    sizes = options_of(content.state, path, **{name: value for name, value in untold.items() if value is not None})
    given = {key: value for key, value in options.items() if value is not None}
    given["objective"] = changed(OBJECTIVE, given.get("objective"))
    given["sampling"] = changed(SAMPLING, given.get("sampling"))
    model = GaitDynamics(**{**PUBLISHED, "decoder": sizes, **given})
    model.normaliser = content.normaliser
    load_into(model.decoder, content.state, path)
    files = {part.name: sha256(part) for part in parts_of(path)}
    model.origin = {"format": "gaitdynamics-authors", "model": {"file": str(path), "sha256": files}}
    return model.eval()


@builds(GaitDynamics)
def build(checkpoint: str | None, **options: Any) -> GaitDynamics:
    """The Hydra target of ``configs/backbone/gait*.yaml``.

    Args:
        checkpoint: None = fresh weights of the given sizes; a model folder of ours; the authors' ``.pt`` (or one of its
            three parts); ``asset:<folder>`` for a packaged one.
        options: arguments of :class:`GaitDynamics`. With a model folder its sizes and schedule are used, with an
            authors' file the sizes in it; the others stay as configured.
    """
    own = {name: options[name] for name in ("decoder", "schedule") if name in options}

    def authors(path: Path, **kept: Any) -> GaitDynamics | None:
        return None if path.is_dir() else load_authors(path, **own, **kept)

    return GaitDynamics.open(checkpoint, authors, **options)
