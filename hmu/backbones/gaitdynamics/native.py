"""Our own model folder (``config.json`` + ``weights.safetensors``), the authors' files, and the Hydra target."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hmu.backbones.gaitdynamics.authors import load_into, options_of, parts_of, read_checkpoint
from hmu.backbones.gaitdynamics.model import GaitDynamics
from hmu.backbones.gaitdynamics.options import DecoderOptions, ObjectiveOptions, SamplingOptions, ScheduleOptions
from hmu.backbones.options import parse
from hmu.checkpoints.folders import CONFIG, read_model_config
from hmu.checkpoints.pretrained import WEIGHTS, resolve
from hmu.checkpoints.safe import load_safetensors, save_safetensors, sha256, write_json
from hmu.checkpoints.sizes import check_model
from hmu.errors import CheckpointError, ConfigError, shown

FAMILY = "gaitdynamics"
_DECODER, _NORMALISER = "decoder.", "normaliser."


def save_pretrained(model: GaitDynamics, folder: Path | str, dtype: str = "float32") -> Path:
    """Write the model folder atomically, file by file; weights as ``float32`` or ``float16``, ranges in float32."""
    if dtype not in ("float32", "float16"):
        raise ConfigError(f"dtype={dtype}: expected float32 or float16")
    folder = Path(folder)
    kind = getattr(torch, dtype)
    stored = {f"{_DECODER}{name}": value.to(kind) for name, value in model.decoder.state_dict().items()}
    stored |= {f"{_NORMALISER}{name}": value for name, value in model.normaliser.state_dict().items()}
    config = {
        "family": FAMILY,
        "decoder": dataclasses.asdict(model.decoder.options),
        "schedule": dataclasses.asdict(model.diffusion.options),
        "objective": dataclasses.asdict(model.objective),
        "sampling": dataclasses.asdict(model.sampling),
        "samples": model.normaliser.samples,
        "adapters": model.adapters,
        "min_frames": model.min_frames,
        "max_frames": model.max_frames,
        "variant": model.variant,
    }
    save_safetensors(folder / WEIGHTS, stored, {"family": FAMILY})
    write_json(folder / CONFIG, config)
    return folder


def load_pretrained(folder: Path | str, **replaced: Any) -> GaitDynamics:
    """A model from its folder, in evaluation mode and float32.

    Args:
        folder: what :func:`save_pretrained` wrote.
        replaced: arguments of :class:`GaitDynamics` other than its sizes that replace the stored ones.

    Raises:
        CheckpointError: one line naming file and fault.
    """
    folder = Path(folder)
    config = read_model_config(folder, FAMILY)
    tensors = load_safetensors(folder / WEIGHTS)
    check_model(config, folder / CONFIG, folder / WEIGHTS)
    samples = int(config.pop("samples", 0))
    try:
        model = GaitDynamics(**{**config, **{key: value for key, value in replaced.items() if value is not None}})
    except TypeError as error:
        raise CheckpointError(f"{folder / CONFIG}: written by another version ({shown(error, 120)})") from error
    for prefix, module in ((_DECODER, model.decoder), (_NORMALISER, model.normaliser)):
        state = {name[len(prefix) :]: value.float() for name, value in tensors.items() if name.startswith(prefix)}
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:160]
            raise CheckpointError(f"{folder / WEIGHTS}: does not fit its {CONFIG} ({reason})") from error
    model.normaliser.samples = samples
    model.origin = {"format": "hmu", "model": {"file": str(folder), "sha256": sha256(folder / WEIGHTS)}}
    return model.eval()


def load_authors(
    path: Path | str,
    *,
    heads: int = 4,
    dropout: float = 0.1,
    window: int = 150,
    **options: Any,
) -> GaitDynamics:
    """A model from the authors' file: the trainer's ``.pt``, the published one, or its three parts (name any).

    Args:
        path: the file.
        heads, dropout, window: of the network, which no shape tells (published values).
        options: further arguments of :class:`GaitDynamics`.

    Raises:
        CheckpointError: one line naming the file and what was expected.
    """
    path = Path(path)
    content = read_checkpoint(path)
    sizes = dataclasses.replace(options_of(content.state, path, heads, dropout), window=window)
    given = {key: value for key, value in options.items() if value is not None}
    model = GaitDynamics(decoder=sizes, normaliser=content.normaliser, **given)
    load_into(model.decoder, content.state, path)
    files = {part.name: sha256(part) for part in parts_of(path)}
    model.origin = {"format": "gaitdynamics-authors", "model": {"file": str(path), "sha256": files}}
    return model.eval()


def build(
    checkpoint: str | None = None,
    decoder: DecoderOptions | Mapping[str, Any] | None = None,
    schedule: ScheduleOptions | Mapping[str, Any] | None = None,
    objective: ObjectiveOptions | Mapping[str, Any] | None = None,
    sampling: SamplingOptions | Mapping[str, Any] | None = None,
    adapters: str = "all",
    min_frames: int = 20,
    max_frames: int = 150,
    variant: str = "default",
) -> GaitDynamics:
    """The Hydra target of ``configs/backbone/gait*.yaml``.

    Args:
        checkpoint: None = fresh weights of the given sizes; a model folder of ours; the authors' ``.pt`` (or one of its
            three parts); ``asset:<folder>`` for a packaged one.
        decoder: sizes of fresh weights; of an authors' file heads, dropout and window, which no shape tells.

    The others are arguments of :class:`GaitDynamics`. With a model folder its sizes and schedule are used;
    ``objective``, ``sampling``, ``adapters`` and ``variant`` stay as configured.

    Raises:
        CheckpointError, ConfigError: in one line.
    """
    shared: dict[str, Any] = {
        "objective": objective,
        "sampling": sampling,
        "adapters": adapters,
        "min_frames": min_frames,
        "max_frames": max_frames,
        "variant": variant,
    }
    if checkpoint is None:
        return GaitDynamics(decoder=decoder, schedule=schedule, **shared)
    path = resolve(str(checkpoint))
    if path.is_dir():
        return load_pretrained(path, **shared)
    sizes = parse(DecoderOptions, decoder, "decoder")
    return load_authors(
        path, heads=sizes.heads, dropout=sizes.dropout, window=sizes.window, schedule=schedule, **shared
    )
