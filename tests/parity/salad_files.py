"""What the SALAD parity cases share: reading arrays, finding the checkpoint a case belongs to.

A case does not name its checkpoint: among ``checkpoints/<dataset>/*`` beside it those with fitting shapes are taken,
and of several the one that reproduces the case's first output best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmu.backbones.salad.authors import load_authors, vae_options
from hmu.backbones.salad.model import Salad
from hmu.backbones.salad.options import DenoiserOptions
from hmu.checkpoints.authors import load_strictly, read_state
from hmu.checkpoints.options import read_options
from hmu.errors import CheckpointError
from hmu.text.base import TextCondition
from tests import published
from tests.parity.checks import Check, compare

NETWORK, SAMPLING, DOUBLE = 2e-5, 1e-4, 1e-9


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of a case; remembers which were read, so that an array nobody compares is a failure."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as stored:
            self._arrays = {name: stored[name] for name in stored.files}
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray:
        self._read.add(name)
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def tensor(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """An array as a tensor."""
        return torch.from_numpy(np.ascontiguousarray(self[name])).to(dtype)

    def unread(self) -> Iterator[Check]:
        """A failing check for every array that no comparison used."""
        for name in self:
            if name not in self._read:
                yield Check(f"array '{name}' of unknown meaning", float("inf"), 0.0)


def vectors(case: Path) -> tuple[Arrays, list[Check]]:
    """The case's arrays, and failing checks for files of unknown kind."""
    known = {"vectors.npz", "manifest_full.json", "case.json"}
    strange = sorted(p.name for p in case.iterdir() if p.name not in known)
    return Arrays(case / "vectors.npz"), [Check(f"file '{n}' of unknown kind", float("inf"), 0.0) for n in strange]


@dataclass(frozen=True)
class Found:
    """A model that a case may belong to."""

    name: str
    model: Salad


def models(case: Path) -> list[Found]:
    """Every readable pair of denoiser and VAE beside the case, with the authors' behaviour."""
    found = []
    for opt in sorted((case.parent / "checkpoints").glob("*/*/opt.txt")):
        if not (opt.parent / "model" / "net_best_fid.tar").is_file():
            continue  # the fork's edits belong to other cases
        try:
            model = load_authors(opt.parents[1], opt.parent.name, variant="upstream")
        except CheckpointError:
            continue  # a VAE's folder, or another family's
        found.append(Found(opt.parent.name, model))
    if not found:
        raise CheckpointError(f"{case.parent / 'checkpoints'}: no SALAD denoiser with its VAE for the case {case.name}")
    return found


def vaes(case: Path) -> list[Found]:
    """Every VAE beside the case, also one that no denoiser uses."""
    found = []
    for path in sorted((case.parent / "checkpoints").glob("*/*/opt.txt")):
        tars = [t for t in (path.parent / "model" / n for n in ("net_best_fid.tar", "latest.tar")) if t.is_file()]
        try:
            state, opt = read_state(tars[0], ("vae",), "a SALAD VAE"), read_options(path)
        except (CheckpointError, IndexError):
            continue
        joints = state["conv_enc.layers.0.0.layers.2.adj_matrix"].shape[0]
        options = vae_options(state, opt, tars[0])
        chains = opt.get("kinematic_chain")
        model = published.backbone(
            "salad",
            features=12 * joints - 1,
            text=None,
            vae=options,
            denoiser=_tiny(),
            chains=chains,
            variant="upstream",
        )
        load_strictly(model.vae, state, tars[0])
        found.append(Found(path.parent.name, model.eval()))
    return found


def _tiny() -> DenoiserOptions:

    sizes = {"latent_dim": 2, "n_heads": 1, "n_layers": 1, "ff_dim": 2, "max_positions": 7, "time_features": 2}
    return published.options(DenoiserOptions, **sizes)


def pick(case: Path, found: Sequence[Found], fits: Callable[[Salad], bool], error: Callable[[Salad], float]) -> Salad:
    """The fitting model; of several the one with the smallest ``error``."""
    fitting = [f.model for f in found if fits(f.model)]
    if not fitting:
        names = ", ".join(f.name for f in found)
        raise CheckpointError(f"case {case.name}: none of the checkpoints {names} has the shapes of its vectors")
    return fitting[0] if len(fitting) == 1 else min(fitting, key=error)


def deviation(ours: Tensor, expected: np.ndarray) -> float:
    """How far an output is from the stored one; infinite for another shape or NaN."""
    check = compare("", ours.detach().numpy(), expected, 0.0)
    return check.deviation if check.deviation == check.deviation else float("inf")


def prompts(arrays: Arrays, index: np.ndarray, dtype: torch.dtype | None = None) -> TextCondition:
    """Rows ``index`` of the stored word features."""
    return TextCondition(arrays.tensor("text_emb", dtype)[index], arrays.tensor("text_mask")[index])


def latent_and_text(model: Salad) -> tuple[int, int]:
    """Widths of a latent token and of a word, which tell models apart."""
    return model.vae.options.latent_dim, model.text_width
