"""Reading one of the authors' model folders (``opt.txt``, ``model/*.tar``, ``meta/``) without running what it contains.

Used for MoMask and for BAMM, which shares its tokenizer and residual transformer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from hmu.backbones.momask.options import RvqOptions
from hmu.backbones.momask.rvq import Rvq
from hmu.checkpoints import authors
from hmu.checkpoints.arrays import load_array
from hmu.checkpoints.options import read_options
from hmu.checkpoints.safe import load_tensors, sha256
from hmu.errors import CheckpointError

State = dict[str, Tensor]
#: files looked for in ``model/``, in this order
WEIGHT_FILES = ("net_best_fid.tar", "base.tar", "latest.tar")
#: what a file of another family holds at its top level
FAMILIES = {
    **authors.FAMILIES,
    "t2m_transformer": "the transformer of MoMask or BAMM",
    "vae": "a SALAD VAE",
    "denoiser": "a SALAD denoiser",
}


def weight_file(folder: Path, name: str | None = None, candidates: Sequence[str] = WEIGHT_FILES) -> Path:
    """The weight file of a model folder: the named one, else the first of ``candidates``, else the only one.

    Raises:
        CheckpointError: there is none.
    """
    for candidate in [name] if name else candidates:
        if (folder / "model" / candidate).is_file():
            return folder / "model" / candidate
    others = sorted((folder / "model").glob("*.tar"))
    if name is None and len(others) == 1:
        return others[0]
    wanted = name or " or model/".join(candidates)
    raise CheckpointError(f"{folder}: expected model/{wanted}; check the folder and the file name")


def read_state(path: Path | str, keys: Sequence[str], what: str) -> State:
    """The state dict under the first of ``keys`` that the file has, without the frozen CLIP it may carry.

    Raises:
        CheckpointError: missing or broken file, or a file of another family (which is named).
    """
    content = load_tensors(path)
    key = next((key for key in keys if key in content), None)
    if key is None:
        found = next((name for other, name in FAMILIES.items() if other in content), None)
        found = found or f"the keys {', '.join(map(str, content))}"
        raise CheckpointError(f"{path}: holds {found}, expected {what}; name the folder of that")
    state = content[key]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: '{key}' is not a mapping of names to tensors")
    return {name: value for name, value in state.items() if not name.startswith("clip_model.")}


def take(state: Mapping[str, Tensor], name: str, path: Path | str, what: str) -> Tensor:
    """A parameter that must be there.

    Raises:
        CheckpointError: it is not.
    """
    if name not in state:
        raise CheckpointError(f"{path}: parameter '{name}' is missing, this is no {what}")
    return state[name]


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """One more than the largest number that ``pattern``'s group matches at the start of a name; 0 for no match."""
    return 1 + max((int(found.group(1)) for name in state if (found := re.match(pattern, name))), default=-1)


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path | str, optional: Sequence[str] = ()) -> None:
    """Load every name; those that end with one of ``optional`` may be missing and stay as they are.

    Raises:
        CheckpointError: missing, unknown or misshapen names, in one line.
    """
    own = module.state_dict()
    missing = sorted(n for n in own if n not in state and not n.endswith(tuple(optional)))
    faults = {
        "misses": missing,
        "holds unknown": sorted(n for n in state if n not in own),
        "has another shape for": sorted(n for n in own if n in state and own[n].shape != state[n].shape),
    }
    for fault, names in faults.items():
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(f"{path}: {fault} '{names[0]}'{more}; not the model that its opt.txt describes")
    module.load_state_dict({**own, **state})


#: buffers of ours that the authors' files do not have
EMA = ("code_sum", "code_count")


def rvq_options(state: Mapping[str, Tensor], opt: Mapping[str, Any], path: Path | str) -> RvqOptions:
    """Options of a tokenizer: sizes from its shapes, the rest from its ``opt.txt``."""
    what = "MoMask or BAMM tokenizer"
    first = take(state, "encoder.model.0.weight", path, what)
    down = count(state, r"encoder\.model\.(\d+)\.0\.weight") - 2
    codes, width = take(state, "quantizer.layers.0.codebook", path, what).shape
    return RvqOptions(
        codes=codes,
        code_dim=width,
        quantizers=count(state, r"quantizer\.layers\.(\d+)\."),
        width=first.shape[0],
        depth=count(state, r"encoder\.model\.2\.1\.model\.(\d+)\."),
        down=down,
        stride=take(state, "encoder.model.2.0.weight", path, what).shape[2] // 2,
        dilation=opt.get("dilation_growth_rate", 3),
        norm=opt.get("vq_norm", "none"),
        activation=opt.get("vq_act", "relu"),
        shared=opt.get("shared_codebook", False),
        quantize_dropout=opt.get("quantize_dropout_prob", 0.2),
        decay=opt.get("mu", 0.99),
        recon_loss=opt.get("recons_loss", "l1_smooth"),
        loss_vel=opt.get("loss_vel", 0.5),
        commit=opt.get("commit", 0.02),
    )


def load_rvq(folder: Path | str, file: str | None = None, variant: str = "default") -> tuple[Rvq, dict[str, Any]]:
    """A tokenizer from its folder, in evaluation mode, and where it came from (file, SHA-256).

    Raises:
        CheckpointError: one line naming the file and what was expected.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; it must hold the tokenizer that opt.txt names as vq_name")
    opt, path = read_options(folder / "opt.txt"), weight_file(folder, file)
    state = read_state(path, ("vq_model", "net"), "a MoMask or BAMM tokenizer (rvq)")
    model = Rvq(
        take(state, "encoder.model.0.weight", path, "tokenizer").shape[1], rvq_options(state, opt, path), variant
    )
    fill(model, state, path, EMA)
    return model.eval(), {"file": str(path), "sha256": sha256(path)}


def load_statistics(folder: Path | str, features: int) -> tuple[np.ndarray, np.ndarray]:
    """``meta/mean.npy`` and ``meta/std.npy`` of a tokenizer's folder, each ``(features,)``.

    Raises:
        CheckpointError: missing, broken, or of another size.
    """
    arrays = []
    for path in (Path(folder) / "meta" / name for name in ("mean.npy", "std.npy")):
        try:
            array = load_array(path, CheckpointError)
        except (FileNotFoundError, CheckpointError) as error:
            raise CheckpointError(
                f"{path}: not there or no array; the tokenizer's own mean and std are needed, copy them"
            ) from error
        if array.shape != (features,):
            raise CheckpointError(f"{path}: shape {array.shape}, but the tokenizer has {features} columns")
        arrays.append(array)
    return arrays[0], arrays[1]
