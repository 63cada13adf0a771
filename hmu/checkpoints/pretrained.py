"""Our own model folder, ``config.json`` beside ``weights.safetensors``: written and read here, for every family.

A class that inherits from :class:`Pretrained` says what it stores in class attributes, and has nothing else to do: the
settings are its constructor's arguments, each found again under the attribute of the same name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from importlib import resources
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from hmu.build import built_class
from hmu.checkpoints.folders import CONFIG, check_model, family_of, read_model_config
from hmu.checkpoints.safe import load_safetensors, save_safetensors
from hmu.documents import read_yaml, sha256, write_json
from hmu.errors import CheckpointError, ConfigError, shown
from hmu.tree import options

WEIGHTS = "weights.safetensors"
ASSET = "asset:"
F = TypeVar("F", bound=Callable[..., Any])


class Pretrained(nn.Module):
    """A module that can be written to a folder and read again.

    Attributes:
        name: the family, which ``config.json`` states. group: its configuration group.
        stored: attributes whose weights are stored, modules or tensors; None is passed over. Tensors are named
            ``<attribute>.<name>``.
        exact: patterns of names that half precision leaves alone.
        recomputed: patterns of names that construction fills in; they are not stored.
        training_only: patterns of names that half precision leaves out, and that a folder may lack.
        adjustable: arguments that stay as configured where weights are loaded (:meth:`open`).
        unstored: arguments that the folder does not state.
        origin: the files that the weights came from, with their SHA-256.
    """

    name: str = ""
    group: ClassVar[str] = "backbone"
    stored: ClassVar[tuple[str, ...]] = ()
    exact: ClassVar[tuple[str, ...]] = ("mean", "std", "statistics.*")
    recomputed: ClassVar[tuple[str, ...]] = ()
    training_only: ClassVar[tuple[str, ...]] = ()
    adjustable: ClassVar[tuple[str, ...]] = ()
    unstored: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.origin: dict[str, Any] = {}

    # -- what a class may say in words of its own ----------------------------------------------------------------------
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as plain values, read from the attributes of the same names."""
        return {name: self.setting(name) for name in arguments_of(type(self)) if name not in self.unstored}

    def setting(self, name: str) -> Any:
        """One of them."""
        return plain(getattr(self, name))

    @classmethod
    def upgrade(cls, config: dict[str, Any], folder: Path) -> dict[str, Any]:
        """The settings of an older folder in today's form: what was not stated yet, what had another name."""
        return config

    @classmethod
    def arguments(cls, config: Mapping[str, Any], changes: Mapping[str, Any], source: Path) -> dict[str, Any]:
        """The constructor's arguments from stored settings and a caller's changes; ``source`` names the file.

        A mapping replaces the values that it names, anything else the whole.
        """
        given = {**config, **changes}
        for key, value in changes.items():
            if isinstance(value, Mapping) and isinstance(config.get(key), Mapping):
                given[key] = {**config[key], **value}
        return given

    def stored_parts(self) -> dict[str, nn.Module | Tensor]:
        """What :attr:`stored` names and this model has; tensors of any shape."""
        parts = {name: getattr(self, name) for name in self.stored}
        return {name: part for name, part in parts.items() if part is not None}

    # -- folders -------------------------------------------------------------------------------------------------------
    def save_pretrained(self, folder: Path | str, dtype: str = "float32") -> Path:
        """Write the folder, file by file atomically, the settings last.

        Args:
            folder: made if needed.
            dtype: ``float32``, or ``float16`` for a copy of half the size.

        Raises:
            ConfigError: another ``dtype``.
            CheckpointError: it cannot be written.
        """
        if dtype not in ("float32", "float16"):
            raise ConfigError(f"dtype={dtype}: expected float32 or float16")
        folder, half = Path(folder), dtype == "float16"
        skipped = (*self.recomputed, *(self.training_only if half else ()))
        tensors = {
            name: value.half() if half and value.is_floating_point() and not _like(name, self.exact) else value
            for name, value in _tensors(self.stored_parts()).items()
            if not _like(name, skipped)
        }
        save_safetensors(folder / WEIGHTS, tensors, {"family": self.name})
        write_json(folder / CONFIG, {"family": self.name, **self.settings()})
        return folder

    @classmethod
    def load_pretrained(cls, folder: Path | str, **changes: Any) -> Self:
        """A model from its folder, in evaluation mode and float32.

        Args:
            folder: what :meth:`save_pretrained` wrote.
            changes: arguments that replace the stored ones; None = as stored.

        Raises:
            CheckpointError: one line naming file and fault.
        """
        folder = Path(folder)
        config = cls.upgrade(read_model_config(folder, cls.name, cls.group), folder)
        tensors = load_safetensors(folder / WEIGHTS)
        check_model(config, folder / CONFIG, folder / WEIGHTS)
        given = {key: value for key, value in changes.items() if value is not None}
        try:
            model = cls(**cls.arguments(config, given, folder / CONFIG))
        except TypeError as error:
            raise CheckpointError(f"{folder / CONFIG}: written by another version ({shown(error, 120)})") from error
        model.load_parts(tensors, folder / WEIGHTS)
        model.origin = {"format": "hmu", "model": {"file": str(folder), "sha256": sha256(folder / WEIGHTS)}}
        return model.eval()

    def load_parts(self, tensors: Mapping[str, Tensor], source: Path) -> None:
        """Fill the stored parts from ``tensors`` under the names of a folder, each in its own precision.

        Raises:
            CheckpointError: names or shapes that do not fit the settings.
        """
        own = _tensors(self.stored_parts())
        optional = (*self.recomputed, *self.training_only)
        check_names(own, tensors, source, f"its {CONFIG}", optional)
        with torch.no_grad():
            for name, value in tensors.items():
                own[name].copy_(value)

    @classmethod
    def open(cls, checkpoint: str | Path | None, authors: Callable[..., Self | None], **options: Any) -> Self:
        """Fresh weights, those of a folder of ours, or the authors'.

        Args:
            checkpoint: None = fresh weights; a folder of ours; a path of the authors'; ``asset:<folder>``.
            authors: reads the authors' files at a path; None for something else. It takes :attr:`adjustable`.
            options: the constructor's arguments; with a checkpoint its own are used but for :attr:`adjustable`.

        Raises:
            CheckpointError, ConfigError: in one line.
        """
        if checkpoint is None:
            return cls(**options)
        path = resolve(str(checkpoint))
        kept = {name: options[name] for name in cls.adjustable if name in options}
        model = authors(path, **kept)
        return cls.load_pretrained(path, **kept) if model is None else model

    def provenance(self) -> dict[str, Any]:
        """Which files the weights came from, with their SHA-256; goes into ``run.json``."""
        return dict(self.origin)


def builds(kind: type) -> Callable[[F], F]:
    """Marks a Hydra target whose ``**options`` are the arguments of ``kind``.

    :mod:`hmu.config_source` reads the mark in the source, so that a misspelt key is refused before torch is imported.
    """

    def mark(function: F) -> F:
        own = {n: p for n, p in signature(function).parameters.items() if p.kind is not Parameter.VAR_KEYWORD}
        given = {n: p.replace(kind=Parameter.KEYWORD_ONLY) for n, p in arguments_of(kind).items() if n not in own}
        function.__dict__["__signature__"] = Signature([*own.values(), *given.values()])  # for readers and inspect
        return function

    return mark


def arguments_of(kind: type) -> dict[str, Parameter]:
    """The arguments of a constructor by name; where it takes ``**shared``, those of its bases before its own."""
    taken: dict[str, Parameter] = {}
    for constructor in (vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base)):
        parameters = list(signature(constructor).parameters.values())[1:]
        named = {p.name: p for p in parameters if p.kind is not Parameter.VAR_KEYWORD}
        taken = named | taken
        if len(named) == len(parameters):
            break
    return taken


def plain(value: Any) -> Any:
    """A constructor's argument as JSON can hold it; a module stands for the options it was made from."""
    if isinstance(value, nn.Module):
        return plain(value.options)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def check_names(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    path: Path | str,
    described: str,
    optional: Sequence[str] = (),
) -> None:
    """Refuse tensors that are missing, unknown or of another shape.

    Args:
        own: what is expected. given: what a file holds.
        path: of that file. described: what says what should be in it (``its opt.txt``).
        optional: patterns of names that may be missing.

    Raises:
        CheckpointError: naming the first, in one line.
    """
    faults = {
        "misses": sorted(name for name in own if name not in given and not _like(name, optional)),
        "holds unknown": sorted(name for name in given if name not in own),
        "has another shape for": sorted(n for n in own if n in given and own[n].shape != given[n].shape),
    }
    for fault, names in faults.items():
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(f"{path}: {fault} '{names[0]}'{more}; not the model that {described} describes")


def resolve(checkpoint: str) -> Path:
    """A checkpoint setting as a path; ``asset:demo/salad`` is a folder packaged with hmu.

    Raises:
        CheckpointError: no such folder in the package.
    """
    if not checkpoint.startswith(ASSET):
        return Path(checkpoint).expanduser()
    path = Path(str(resources.files("hmu").joinpath("assets", *checkpoint[len(ASSET) :].split("/"))))
    if not path.is_dir():
        raise CheckpointError(
            f"{checkpoint}: this installation carries no such model; train one, or give checkpoint=<folder>"
        )
    return path


def _like(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _tensors(parts: Mapping[str, nn.Module | Tensor]) -> dict[str, Tensor]:
    """All tensors by their names in a folder; they share memory with the parts."""
    tensors: dict[str, Tensor] = {}
    for part, content in parts.items():
        own = {part: content} if isinstance(content, Tensor) else content.state_dict(prefix=f"{part}.")
        tensors |= {name: value for name, value in own.items() if isinstance(value, Tensor)}
    return tensors


def stored_class(folder: Path) -> type[Pretrained]:
    """The class of the model in a folder of ours: the one of that family that the configuration tree names.

    Raises:
        CheckpointError: no such folder, or a family that no file of the tree builds.
    """
    family = family_of(folder)
    files = (path for group in ("backbone", "evaluator") for path in options(group).values())
    targets = {str((read_yaml(path, ConfigError) or {}).get("_target_")) for path in files} - {"None"}
    for target in sorted(targets, key=lambda target: (family not in target, target)):
        kind = built_class(target)
        if kind is not None and issubclass(kind, Pretrained) and kind.name == family:
            return kind
    raise CheckpointError(f"{folder}: family '{shown(family)}' is none of hmu's models; a newer version?")
