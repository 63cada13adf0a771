"""What the authors' checkpoint folders have in common.

Layout: ``<checkpoints>/<dataset>/<name>/{opt.txt, model/*.tar, meta/}``. Nothing that they contain is run. Sizes are
read from the shapes; ``opt.txt`` only supplies what no shape tells. All faults are a :class:`CheckpointError`, one line
that names the file and what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn
from typing_extensions import Self

from hmu.checkpoints.arrays import load_array
from hmu.checkpoints.opt import read_options
from hmu.checkpoints.pretrained import check_names
from hmu.checkpoints.safe import load_tensors
from hmu.documents import sha256
from hmu.errors import CheckpointError, HmuError, shown

State = dict[str, Tensor]
#: files looked for in ``model/``, in this order
WEIGHT_FILES = ("net_best_fid.tar", "base.tar", "latest.tar")
#: what a file holds, by a key at its top level
FAMILIES = {
    "vae": "a SALAD VAE",
    "denoiser": "a SALAD denoiser",
    "vq_model": "a MoMask or BAMM tokenizer",
    "net": "a MoMask or T2M-GPT tokenizer",
    "t2m_transformer": "the transformer of MoMask or BAMM",
    "res_transformer": "a MoMask residual transformer",
    "estimator": "a length estimator",
    "movement_encoder": "a text-motion evaluator",
    "ema_state_dict": "a GaitDynamics model",
    "state_dict": "a Lightning checkpoint",
}


class Located(NamedTuple):
    """``<checkpoints>/<dataset>``, the model's folder in it, and a file in its ``model/`` if one was named."""

    folder: Path
    name: str
    file: str | None


def locate(path: Path) -> Located | None:
    """The authors' checkpoint at a path, given as a model folder or a file in its ``model/``; None for neither."""
    if path.is_file() and path.parent.name == "model":
        return Located(path.parents[2], path.parents[1].name, path.name)
    if (path / "opt.txt").is_file() and (path / "model").is_dir():
        return Located(path.parent, path.name, None)
    return None


def weight_file(folder: Path, name: str | None = None, candidates: Sequence[str] = WEIGHT_FILES) -> Path:
    """The weight file of a model folder: the named one, else the first of ``candidates``, else the only one."""
    for candidate in [name] if name else candidates:
        if (folder / "model" / candidate).is_file():
            return folder / "model" / candidate
    others = sorted((folder / "model").glob("*.tar"))
    if name is None and len(others) == 1:  # whatever it is: reading it tells the family
        return others[0]
    expected = name or " or model/".join(candidates)
    raise CheckpointError(f"{folder}: expected model/{expected}; check the folder and the file name")


def read_state(path: Path | str, keys: Sequence[str], what: str) -> State:
    """The state dict under the first of ``keys`` that the file has, without the frozen CLIP it may carry.

    Raises:
        CheckpointError: missing or broken file, or a file of another family (which is named).
    """
    content = load_tensors(path)
    key = next((key for key in keys if key in content), None)
    if key is None:
        family = next((name for other, name in FAMILIES.items() if other in content), None)
        stored = family or f"the keys {', '.join(map(str, content))}"
        raise CheckpointError(f"{path}: holds {stored}, expected {what}; name the folder of that")
    state = content[key]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: '{key}' is not a mapping of names to tensors")
    return {name: value for name, value in state.items() if "clip_model." not in name and "_cache_" not in name}


def take(state: Mapping[str, Tensor], name: str, path: Path | str, what: str) -> Tensor:
    """A parameter, of any shape; CheckpointError where it is missing."""
    if name not in state:
        raise CheckpointError(f"{path}: parameter '{name}' is missing, this is no {what}")
    return state[name]


class Part(NamedTuple):
    """A weight file and the ``opt.txt`` of its folder; ``what`` says in messages what was expected."""

    opt: Mapping[str, Any]
    state: State
    path: Path
    what: str

    @classmethod
    def read(cls, folder: Path | str, file: str | None, keys: tuple[str, ...], what: str) -> Self:
        """The part of a folder, its weights under one of ``keys``; ``file``: in its ``model/``."""
        folder = Path(folder)
        opt, path = read_options(folder / "opt.txt"), weight_file(folder, file)
        return cls(opt, read_state(path, keys, f"a {what}"), path, what)

    def size(self, name: str, axis: int) -> int:
        """The length of a parameter along an axis; a missing parameter is refused."""
        return take(self.state, name, self.path, self.what).shape[axis]

    def heads(self) -> int:
        """The attention heads, which no shape tells; CheckpointError where ``opt.txt`` does not either."""
        if "n_heads" not in self.opt:
            raise CheckpointError(
                f"{self.path}: opt.txt lacks n_heads, which no weight tells; copy the trained model's opt.txt"
            )
        return int(self.opt["n_heads"])


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """One more than the largest number that ``pattern``'s group matches at the start of a name, whatever the shapes."""
    return 1 + max((int(match.group(1)) for name in state if (match := re.match(pattern, name))), default=-1)


def load_strictly(
    module: nn.Module, state: Mapping[str, Tensor], path: Path | str, optional: Sequence[str] = ()
) -> None:
    """Load every name, in our shapes; those that match a pattern of ``optional`` may be missing and stay as is."""
    own = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    check_names(own, state, path, "its opt.txt", optional)
    module.load_state_dict({**own, **state})


def source(path: Path) -> dict[str, Any]:
    """What provenance says of a file."""
    return {"file": str(path), "sha256": sha256(path)}


def read_statistics(folder: Path, features: int) -> tuple[np.ndarray, np.ndarray]:
    """``mean.npy`` and ``std.npy`` of a folder, each ``(features,)``; a std is above 0."""
    arrays = []
    for path in (folder / "mean.npy", folder / "std.npy"):
        if not path.is_file():
            raise CheckpointError(f"{path}: missing; the model normalises with its own mean and std, copy them")
        try:
            array = load_array(path, CheckpointError).astype(np.float64)
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"{path}: not an array of numbers; copy it again") from error
        if array.shape != (features,):
            raise CheckpointError(f"{path}: shape {array.shape}, but the model has {features} columns")
        if not np.isfinite(array).all() or (path.stem == "std" and (array <= 0).any()):
            raise CheckpointError(f"{path}: expected finite numbers, and each std above 0; copy it again")
        arrays.append(array)
    return arrays[0], arrays[1]


@contextmanager
def naming(source: Path | str, what: str) -> Iterator[None]:
    """What goes wrong inside is said in one line that names the file ``source``, which should hold ``what``."""
    try:
        yield
    except HmuError as error:
        raise type(error)(f"{source}: {error}") from error
    except (RuntimeError, KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
        reason = shown(" ".join(str(error).split()), 120)
        raise CheckpointError(f"{source}: not {what}: {type(error).__name__} {reason}") from error


def check_text(width: int, text: Any, path: Path | str) -> None:
    """Refuse a text encoder of another width than the weights at ``path`` read."""
    if text is not None and text.width != width:
        raise CheckpointError(f"{path}: reads text of width {width}, the text encoder has {text.width}")
