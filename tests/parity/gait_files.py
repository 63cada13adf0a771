"""What the GaitDynamics parity cases share: sizes, weights, normalisers, and the documented filling at full size."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.backbones.gaitdynamics.authors import load_into, read_checkpoint, to_published
from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.backbones.gaitdynamics.options import DecoderOptions
from hmu.errors import CheckpointError
from hmu.gait.normaliser import MinMax
from hmu.gait.skeleton import Skeleton
from tests import published
from tests.parity.checks import Check, compare, exact
from tests.parity.salad_files import Arrays

DECODER, SAMPLING, CHAOTIC, DATA, FILE, DOUBLE = 5e-5, 1e-4, 2e-2, 1e-4, 1e-6, 1e-9
SIZES = {
    "nfeats": "features",
    "seq_len": "window",
    "latent_dim": "latent_dim",
    "ff_size": "ff_dim",
    "num_layers": "layers",
    "num_heads": "heads",
    "dropout": "dropout",
    "use_rotary": "rotary",
}


def strange(case: Path, known: set[str]) -> Iterator[Check]:
    """A failing check for every file or folder whose kind is not known; ``known`` holds names and suffixes."""
    for path in sorted(case.iterdir()):
        if path.name not in known and path.suffix not in known:
            yield Check(f"'{path.name}' of unknown kind", float("inf"), 0.0)


def facts(path: Path) -> dict[str, Any]:
    """A JSON file."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def sizes(stored: Mapping[str, Any]) -> DecoderOptions:
    """Our options from the authors' hyper-parameters."""
    return published.options(
        DecoderOptions, **{ours: stored[theirs] for theirs, ours in SIZES.items() if theirs in stored}
    )


def filled(options: DecoderOptions) -> Decoder:
    """A network of the documented filling: seeded by each parameter's name, scaled by its shape."""
    decoder = Decoder(options)
    state: dict[str, Tensor] = {}
    for name, value in to_published(decoder).items():
        state[name] = value if name.endswith(("freqs", ".pe")) else torch.from_numpy(_fill(name, tuple(value.shape)))
    load_into(decoder, state, "filled by formula")
    return decoder.eval()


def _fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    g = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) >= 2:
        g = g / np.sqrt(shape[1]) * (0.8 if name == "final_layer.weight" else 1.0)
    elif ".norm" in name and name.endswith("weight"):
        g = 1 + 0.2 * g
    else:
        g = 0.15 * g
    return g.astype(np.float32)


def load(path: Path, stored: Mapping[str, Any]) -> tuple[Decoder, MinMax | None]:
    """The network of a checkpoint and its normaliser; without the file, the network filled by formula."""
    options = sizes(stored)
    if not path.is_file():
        return filled(options), None
    content = read_checkpoint(path)
    decoder = Decoder(options)
    load_into(decoder, content.state, path)
    return decoder.eval(), content.normaliser


def rounded_angles(decoder: Decoder) -> Decoder:
    """The same network in double precision, but with rotary angles rounded to float32, as some references were run."""
    if decoder.rotary is not None:
        frequencies = decoder.rotary.freqs.float()

        def forward(x: Tensor) -> Tensor:
            angle = (torch.arange(x.shape[1]).float()[:, None] * frequencies).to(x.dtype)
            even, odd = x[..., 0::2], x[..., 1::2]
            turned = [even * angle.cos() - odd * angle.sin(), odd * angle.cos() + even * angle.sin()]
            return torch.stack(turned, -1).flatten(-2)

        decoder.rotary.forward = forward  # type: ignore[method-assign]
    return decoder


def normaliser_of(arrays: Mapping[str, np.ndarray], prefix: str = "") -> MinMax:
    """A normaliser from stored arrays."""
    result = MinMax(len(arrays[f"{prefix}scale_"]))
    for name in dict(result.named_buffers()):
        getattr(result, name).copy_(torch.from_numpy(np.array(arrays[f"{prefix}{name}"])))
    if f"{prefix}n_samples_seen_" in arrays:
        result.samples = int(arrays[f"{prefix}n_samples_seen_"])
    return result


def same_normaliser(label: str, ours: MinMax, arrays: Mapping[str, np.ndarray], prefix: str = "") -> Iterator[Check]:
    """Every table of a normaliser."""
    for name, value in ours.named_buffers():
        if f"{prefix}{name}" in arrays:
            yield compare(f"{label} {name}", value, arrays[f"{prefix}{name}"], FILE)
    if f"{prefix}n_samples_seen_" in arrays:
        yield exact(f"{label} samples", ours.samples, int(arrays[f"{prefix}n_samples_seen_"]))


def beside(case: Path, pattern: str, array: str) -> Path:
    """A file among the neighbours of a case (or of its set) that holds ``array``; the nearest first.

    Raises:
        CheckpointError: when there is none.
    """
    for folder in (case, case.parent, case.parent.parent):
        for path in sorted(folder.glob(pattern)):
            with np.load(path, allow_pickle=False) as stored:
                if array in stored.files:
                    return path
    raise CheckpointError(f"{case}: no {pattern} with '{array}' beside it")


def knee(case: Path) -> Tensor:
    """The knee's polynomials, stored with the kinematics case."""
    name = "fk/walker_knee_coefficients"
    return torch.from_numpy(Arrays(beside(case, "**/vectors.npz", name))[name])


def skeleton(frames: np.ndarray | Tensor, polynomials: Tensor) -> Skeleton:
    """A skeleton from stored frames ``(4, 4, 20)``."""
    return Skeleton(torch.as_tensor(frames).double(), polynomials.double())
