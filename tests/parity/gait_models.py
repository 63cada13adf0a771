"""What the GaitDynamics parity cases share: sizes, networks (stored or filled), normalisers, skeletons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.backbones.gaitdynamics.authors import load_into, options_of, read_checkpoint, to_ours, to_published
from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.backbones.gaitdynamics.options import DecoderOptions
from hmu.errors import CheckpointError
from hmu.gait.normaliser import MinMax
from hmu.gait.skeleton import FRAMES, Skeleton
from tests.parity.case import Case, above, read_arrays
from tests.parity.checks import Checks, exact, inside, nearest
from tests.parity.fills import Fill, doubled, filled, fills
from tests.published import options as published_options

DECODER, SAMPLING, CHAOTIC, DATA, FILE = 5e-5, 1e-4, 2e-2, 1e-4, 1e-6
#: the authors' names, ours, and their published values
SIZES: dict[str, tuple[str, Any]] = {
    "nfeats": ("features", 63),
    "seq_len": ("window", 150),
    "latent_dim": ("latent_dim", 256),
    "ff_size": ("ff_dim", 1024),
    "num_layers": ("layers", 4),
    "num_heads": ("heads", 4),
    "dropout": ("dropout", 0.1),
    "use_rotary": ("rotary", True),
}


def sizes(recorded: Mapping[str, Any]) -> DecoderOptions:
    """Our options from the authors' hyper-parameters; what they do not tell is as published."""
    return published_options(
        DecoderOptions, **{ours: recorded.get(theirs, value) for theirs, (ours, value) in SIZES.items()}
    )


@cache
def filled_decoder(options: DecoderOptions, fill: Fill) -> Decoder:
    """A network filled by rule (made once: full-size cases share it)."""
    decoder = Decoder(options)
    return filled(decoder, fill, lambda _: to_published(decoder), to_ours)


def stored_network(path: Path, recorded: Mapping[str, Any]) -> tuple[Decoder, MinMax | None]:
    """The network of a checkpoint, with sizes from its shapes and what no shape says from ``recorded``."""
    content = read_checkpoint(path)
    options = options_of(content.state, path, int(recorded.get("num_heads", 4)))
    decoder = Decoder(sizes({**{t: getattr(options, o) for t, (o, _) in SIZES.items()}, **recorded}))
    load_into(decoder, content.state, path)
    return decoder.eval(), content.normaliser


def network(path: Path, recorded: Mapping[str, Any], error: Callable[[Decoder], float], *names: str) -> Decoder:
    """The network of a checkpoint; without the file, one of the published size filled by the rule that fits.

    ``recorded`` are hyper-parameters as far as they are known, ``names`` those of files and folders, which may tell
    the rule; ``error`` is how far a network's first output is from the stored one.
    """
    if path.is_file():
        heads = [recorded] if "num_heads" in recorded else [{**recorded, "num_heads": n} for n in (4, 2, 8, 1)]
        candidates: Iterator[Decoder] = (stored_network(path, each)[0] for each in heads)
    else:  # the documented rule of this system first
        rules = sorted(fills(*names), key=lambda fill: fill.rule != "random")
        candidates = (filled_decoder(sizes(recorded), fill) for fill in rules)
    return nearest(candidates, error)


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


def twins(net: Decoder) -> Iterator[Decoder]:
    """The network in double precision: exact or rounded weights, with exact and then with rounded rotary angles."""
    return (change(twin) for twin in doubled(net) for change in (lambda net: net, rounded_angles))


def normaliser_of(arrays: Mapping[str, np.ndarray], prefix: str = "") -> MinMax:
    """A normaliser from stored arrays."""
    result = MinMax(len(arrays[f"{prefix}scale_"]))
    for name, table in result.named_buffers():
        table.copy_(torch.from_numpy(np.array(arrays[f"{prefix}{name}"])))
    if f"{prefix}n_samples_seen_" in arrays:
        result.samples = int(arrays[f"{prefix}n_samples_seen_"])
    return result


def same_normaliser(label: str, ours: MinMax, case: Case, tolerance: float = FILE) -> Checks:
    """Every table of a normaliser."""
    yield from inside(label, case.given(dict(ours.named_buffers()), tolerance))
    if "n_samples_seen_" in case:
        yield exact(f"{label} samples", ours.samples, int(case.raw("n_samples_seen_")))


def neighbour(folder: Path, pattern: str, array: str) -> dict[str, np.ndarray]:
    """The arrays of the nearest file of a pattern that holds ``array``; empty where there is none."""
    for place in above(folder.resolve()):
        paths = sorted(path for depth in ("", "*/", "*/*/") for path in place.glob(f"{depth}{pattern}"))
        for arrays in map(read_arrays, paths):
            if array in arrays:
                return arrays
        if (place / "dev").is_dir() or (place / "README.md").is_file():
            break  # the system's folder
    return {}


def nearest_normaliser(folder: Path) -> MinMax | None:
    """The normaliser that a case without one was run with: that of the nearest checkpoint case."""
    arrays = neighbour(folder, "normalizer.npz", "scale_")
    return normaliser_of(arrays) if arrays else None


def knee(case: Path) -> Tensor:
    """The knee's polynomials, stored with the kinematics case.

    Raises:
        CheckpointError: no such case is near.
    """
    name = "fk/walker_knee_coefficients"
    arrays = neighbour(case, "vectors.npz", name)
    if not arrays:
        raise CheckpointError(f"{case}: no vectors.npz with '{name}' beside it")
    return torch.from_numpy(arrays[name])


def body(case: Case, offsets: str = "") -> Skeleton:
    """A skeleton with stored frames ``(4, 4, 20)``, or unit ones, and the knee of the kinematics case."""
    frames = case[offsets] if offsets else torch.eye(4)[:, :, None].expand(4, 4, FRAMES)
    return Skeleton(frames.double(), knee(case.folder).double())
