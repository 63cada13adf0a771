"""Reading and writing weight files without running what they contain, and without leaving half a file behind."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from hmu.documents import write_bytes
from hmu.errors import CheckpointError, shown


def _require_file(path: Path, what: str) -> None:
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder, expected {what}; name the file inside it")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file, expected {what}; check the path")


def load_tensors(path: Path | str) -> dict[str, Any]:
    """The mapping in a ``torch.save`` file (``.tar``, ``.pt`` …), read on the CPU with the restricted unpickler.

    Raises:
        CheckpointError: missing, truncated, no mapping, or objects other than tensors and plain values in it.
    """
    content = load_plain(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, expected a mapping of names to tensors")
    return dict(content)


def load_plain(path: Path | str) -> Any:
    """The same for a file that may hold a tensor, or a list of them, alone."""
    path = Path(path)
    _require_file(path, "a PyTorch checkpoint")
    _refuse_packed(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error) or "Unsupported class" in str(error):
            raise CheckpointError(
                f"{path}: holds Python objects that would run code when read, expected tensors and plain values only; "
                f"refused, nothing was run"
            ) from error
        raise _broken(path) from error
    except Exception as error:  # torch raises many kinds for files that are not its own, MemoryError among them
        raise _broken(path) from error


def _refuse_packed(path: Path) -> None:
    """``torch.save`` never compresses: an archive that unpacks to more than it is was made to exhaust memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [info for info in archive.infolist() if info.file_size > info.compress_size]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
        return  # no archive (the older format), or a broken one, which torch will say
    if packed:
        size = sum(info.file_size for info in packed)
        raise CheckpointError(f"{path}: unpacks to {size} bytes, which torch.save never does: refused; get it again")


def _broken(path: Path) -> CheckpointError:
    size = path.stat().st_size
    return CheckpointError(
        f"{path}: truncated or no PyTorch checkpoint ({size} bytes); copy or download it again (compare its SHA-256)"
    )


def save_safetensors(
    path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors of any shapes as one safetensors file, atomically.

    Tensors may be views, shared or on any device: each is stored as its own contiguous copy. Raises as
    :func:`write_bytes` does.
    """
    plain: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().to("cpu").contiguous()
        # The format refuses two names for one storage, and would store the whole storage of a view.
        storage = value.untyped_storage()
        if storage.data_ptr() in storages or storage.nbytes() != value.numel() * value.element_size():
            value = value.clone()
        storages.add(value.untyped_storage().data_ptr())
        plain[name] = value
    write_bytes(path, safetensors.torch.save(plain, dict(metadata) if metadata else None))


def load_safetensors(path: Path | str) -> dict[str, Tensor]:
    """All tensors of a safetensors file, in their shapes, on the CPU.

    Raises:
        CheckpointError: missing or broken, or a tensor holds NaN or infinity.
    """
    path = Path(path)
    _require_file(path, "a safetensors file")
    try:
        tensors = dict(safetensors.torch.load_file(path, device="cpu"))
    except Exception as error:  # kinds of its own, and of torch for types that it does not have
        raise CheckpointError(
            f"{path}: truncated or not a safetensors file ({shown(error, 120)}); make or copy it again"
        ) from error
    refuse_nonfinite(tensors, str(path))
    return tensors


def first_nonfinite(tensors: Mapping[str, Any]) -> str | None:
    """The name of the first tensor, of any shape, that holds NaN or infinity; None if there is none.

    The answers of all tensors are read at once, so that a GPU is waited for once.
    """
    names = [n for n, t in tensors.items() if isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex())]
    if not names:
        return None
    home = tensors[names[0]].device
    fine = torch.stack([torch.isfinite(tensors[name].detach()).all().to(home) for name in names]).tolist()
    return next((name for name, good in zip(names, fine, strict=True) if not good), None)


def refuse_nonfinite(tensors: Mapping[str, Any], what: str) -> None:
    """Refuse tensors (of any shapes, by name) with NaN or infinity; ``what`` names their file or folder.

    Raises:
        CheckpointError: naming the first of them.
    """
    name = first_nonfinite(tensors)
    if name is not None:
        raise CheckpointError(
            f"{what}: '{name}' holds NaN or infinite numbers (a training that diverged?); make or copy it again"
        )
