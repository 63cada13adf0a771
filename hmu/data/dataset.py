"""A folder in HumanML3D layout: what ``configs/dataset/*.yaml`` instantiates.

Layout: ``new_joint_vecs/<id>.npy``, ``texts/<id>.txt``, ``Mean.npy``, ``Std.npy``, and one list of ids per split
(``train.txt`` ...). Ids that start with ``M`` are mirrored clips; they are ordinary clips with files of their own.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.checkpoints.leftovers import remove_leftovers
from hmu.data.clips import Entry, MotionClips
from hmu.data.packed import Pack, pack, source_key
from hmu.data.reading import build_entries, reading_rule
from hmu.errors import ConfigError, DataError

__all__ = ["DatasetSource", "Entry", "MotionClips"]

log = logging.getLogger(__name__)
SHOWN = 12  # how many ids of one kind of problem a message lists


class DatasetSource:
    """A data set on disk, packed on first use.

    Args:
        name: used in messages, run folders and concept overrides.
        root: the folder; None = where ``generator`` puts it, inside ``cache_dir``.
        fps: frames per second.
        features: columns of a motion (263; KIT 251).
        min_frames: shorter clips are never used.
        max_frames: longest length handed out; clips of 200 frames and more are never used (published rule).
        unit_length: lengths handed out are multiples of this.
        cache_dir: where packed motions and generated data go.
        generator: called with the target folder when the data set is procedural and not there yet.
        motion_dir, text_dir: sub-folders of ``root``.
        splits: split files that must exist; all clips they list are packed.
        rule: reading rule, see :data:`hmu.data.reading.RULES`.
        strict: any missing or broken file is an error (all are listed at once); otherwise they are skipped and counted.
        requirements: what ``python -m hmu.tools.doctor`` checks; not used here.

    Raises:
        ConfigError: an impossible value.
    """

    def __init__(
        self,
        name: str,
        root: str | Path | None = None,
        fps: float = 20.0,
        features: int = 263,
        min_frames: int = 40,
        max_frames: int = 196,
        unit_length: int = 4,
        cache_dir: str | Path = ".cache/hmu",
        generator: Callable[[Path], object] | None = None,
        motion_dir: str = "new_joint_vecs",
        text_dir: str = "texts",
        splits: Sequence[str] = ("train", "val", "test"),
        rule: str = "clean",
        strict: bool = True,
        requirements: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        if root is None and generator is None:
            raise ConfigError(
                f"data set '{name}': dataset.root is empty; give the folder that holds {motion_dir}/ and {text_dir}/"
            )
        if min_frames < unit_length or max_frames < min_frames or unit_length < 1:
            raise ConfigError(
                f"data set '{name}': need 1 <= unit_length <= min_frames <= max_frames, "
                f"got {unit_length}, {min_frames}, {max_frames}"
            )
        if fps <= 0 or features < 1:
            raise ConfigError(f"data set '{name}': fps and features must be positive, got {fps} and {features}")
        self.name, self.fps, self.features, self.unit_length = name, float(fps), features, unit_length
        self.min_frames, self.max_frames, self.strict = min_frames, max_frames, strict
        self.cache_dir, self.generator = Path(cache_dir), generator
        self.motion_dir, self.text_dir, self.splits = motion_dir, text_dir, tuple(splits)
        self.rule_name, self.rule = rule, reading_rule(rule)
        self.requirements = tuple(requirements)
        self._given = root is not None  # a folder the user names is never made up: a typing mistake must be said
        self.root = Path(root) if root is not None else self.cache_dir / f"{name}-{_recipe_key(generator)}"

    # -- files --------------------------------------------------------------------------------------------------------
    def motion_file(self, clip: str) -> Path:
        """The ``.npy`` of a clip."""
        return self.root / self.motion_dir / f"{clip}.npy"

    def text_file(self, clip: str) -> Path:
        """The caption file of a clip."""
        return self.root / self.text_dir / f"{clip}.txt"

    def split_file(self, split: str) -> Path:
        """The list of ids of ``split``."""
        return self.root / f"{split}.txt"

    def split_root(self) -> Path:
        """The folder of the split files, generated first where the data set is procedural."""
        self._ensure_root()
        return self.root

    def prepare(self) -> DatasetSource:
        """Create generated data if absent, pack the motions, check everything; returns itself.

        Raises:
            DataError: missing folder or split files, or (``strict``) any missing or broken file, all at once.
        """
        _ = self.pack
        return self

    @cached_property
    def pack(self) -> Pack:
        """The packed motions and captions of every split."""
        if not self._given:
            remove_leftovers(self.root.parent, prefix=f"{self.root.name}.")
        self._ensure_root()
        missing = [f"{s}.txt" for s in self.splits if not self.split_file(s).is_file()]
        missing += [f"{d}/" for d in (self.motion_dir, self.text_dir) if not (self.root / d).is_dir()]
        if missing:
            raise DataError(f"data set '{self.name}': {self.root} lacks {', '.join(missing)}; {self._advice()}")
        ids = list(dict.fromkeys(clip for split in self.splits for clip in self.split_ids(split)))
        files = [
            (self.root / self.motion_dir, [f"{clip}.npy" for clip in ids]),
            (self.root / self.text_dir, [f"{clip}.txt" for clip in ids]),
        ]
        key = source_key(files, (str(self.root.resolve()), self.features, self.motion_dir, self.text_dir))
        packed = pack(
            self.cache_dir / "packed" / f"{self.name}-{key}", ids, self.motion_file, self.text_file, self.features
        )
        self._report(packed)
        return packed

    def _ensure_root(self) -> None:
        if self.root.is_dir():
            return
        if self.generator is None or self._given:
            raise DataError(f"data set '{self.name}': folder {self.root} does not exist; {self._advice()}")
        building = self.root.with_name(f"{self.root.name}.{uuid.uuid4().hex[:8]}.tmp")
        building.mkdir(parents=True)
        try:
            log.info("generating data set '%s' into %s (once)", self.name, self.root)
            self.generator(building)
            os.replace(building, self.root)
        except OSError:
            if not self.root.is_dir():  # not another process that was faster
                raise
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _advice(self) -> str:
        return (
            "set dataset.root, or run  python -m hmu.tools.doctor  with this dataset=… to see where the data come from"
        )

    def _report(self, packed: Pack) -> None:
        overlap = sorted(self._leaks())
        problems = dict(packed.problems) | ({"listed in test and in another split": overlap} if overlap else {})
        parts = []
        for kind, ids in problems.items():
            more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
            parts.append(f"{kind} ({len(ids)}): {', '.join(ids[:SHOWN])}{more}")
        if not packed.ids:
            raise DataError(
                f"data set '{self.name}' in {self.root} has no usable clip: {'; '.join(parts) or 'empty split files'}"
            )
        if parts and self.strict:
            raise DataError(
                f"data set '{self.name}' in {self.root}: {'; '.join(parts)}. "
                "Mend the files, or set dataset.strict=false to skip them"
            )
        if parts:
            log.warning(
                "data set '%s': %d of %d clips are usable; skipped: %s",
                self.name,
                len(packed.ids),
                len(self._all_ids),
                "; ".join(parts),
            )

    def _leaks(self) -> set[str]:
        if "test" not in self.splits:
            return set()
        others = {clip for split in self.splits if split not in ("test", "all") for clip in self.split_ids(split)}
        return others & set(self.split_ids("test"))

    @cached_property
    def _all_ids(self) -> frozenset[str]:
        return frozenset(clip for split in self.splits for clip in self.split_ids(split))

    # -- contents -----------------------------------------------------------------------------------------------------
    def split_ids(self, split: str) -> tuple[str, ...]:
        """The ids of a split file, in order, without blanks and repetitions.

        ``train_val`` is train followed by val where no such file exists; ``a+b`` joins splits.

        Raises:
            DataError: if there is no such split file.
        """
        self._ensure_root()
        if "+" in split:
            return tuple(dict.fromkeys(clip for part in split.split("+") for clip in self.split_ids(part)))
        path = self.split_file(split)
        if not path.is_file():
            if split == "train_val":
                return self.split_ids("train+val")
            known = sorted(p.stem for p in self.root.glob("*.txt"))
            raise DataError(f"data set '{self.name}': no split file {path}; there are {', '.join(known) or 'none'}")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))

    @cached_property
    def _clips(self) -> MotionClips:
        frames = np.diff(self.pack.offsets)
        table = build_entries(self.pack.lines, frames, self.rule, fps=self.fps, min_frames=self.min_frames)
        return MotionClips(self.pack, table, self.unit_length, self.max_frames, self.rule.exact_tokens)

    @cached_property
    def clip_number(self) -> dict[str, int]:
        """From a clip id to its number in the pack."""
        return {clip: number for number, clip in enumerate(self.pack.ids)}

    def clips(self, split: str, ids: Collection[str] | None = None) -> MotionClips:
        """The entries of ``split`` (of those clips among ``ids`` only), in the order of the split file.

        Raises:
            DataError: if nothing is left, or an id of the split is not part of the packed splits.
        """
        listed = self.split_ids(split)
        unknown = [clip for clip in listed if clip not in self._all_ids]
        if unknown:
            raise DataError(
                f"data set '{self.name}': split '{split}' lists {unknown[0]} (and {len(unknown) - 1} more), "
                "which no split in dataset.splits holds"
            )
        wanted = [clip for clip in listed if clip in self.clip_number and (ids is None or clip in ids)]
        order = np.full(len(self.pack.ids), -1, dtype=np.int64)
        order[[self.clip_number[clip] for clip in wanted]] = np.arange(len(wanted))
        rank = order[self._clips.table.clip]
        rows = np.flatnonzero(rank >= 0)
        if not self.rule.by_length:
            rows = rows[np.argsort(rank[rows], kind="stable")]
        if not len(rows):
            limits = f"{self.min_frames} to 199 frames" + ("" if ids is None else f", {len(ids)} ids asked for")
            raise DataError(f"data set '{self.name}': split '{split}' has no entry within the limits ({limits})")
        return self._clips.subset(rows)

    def caption_lines(self, clip: str) -> list[str]:
        """The raw lines of a clip's caption file, blank ones included.

        Raises:
            DataError: for an id that is not part of the data set.
        """
        if clip not in self.clip_number:
            raise DataError(f"data set '{self.name}' has no clip '{clip}'")
        return self.pack.raw_text(self.clip_number[clip]).decode("utf-8", errors="replace").split("\n")

    @cached_property
    def mean(self) -> Tensor:
        """``Mean.npy``: mean of every column in real units ``(features,)``."""
        return self._statistic("Mean.npy")

    @cached_property
    def std(self) -> Tensor:
        """``Std.npy``: standard deviation of every column, averaged inside each group of columns ``(features,)``."""
        return self._statistic("Std.npy")

    def _statistic(self, filename: str) -> Tensor:
        self._ensure_root()
        path = self.root / filename
        try:
            value = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"data set '{self.name}': cannot read {path}; {self._advice()}") from error
        if value.shape != (self.features,) or not np.isfinite(value).all():
            raise DataError(
                f"data set '{self.name}': {path} has shape {value.shape}; expected ({self.features},), finite"
            )
        return torch.from_numpy(value.astype(np.float32))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all content and of how it is read."""
        reading = f"{self.rule_name}|{self.min_frames}|{self.max_frames}|{self.unit_length}|{self.fps}"
        return hashlib.sha256(f"{self.pack.fingerprint}|{reading}".encode()).hexdigest()


def _recipe_key(generator: Callable[[Path], object] | None) -> str:
    """Identity of a generator: its source code, that of the motion package below it, and the arguments it was given.

    Generated data are thus made anew whenever the code that makes them changes.
    """
    function = getattr(generator, "func", generator)
    arguments = (getattr(generator, "args", ()), sorted(getattr(generator, "keywords", {}).items()))
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    digest = hashlib.sha256(f"{name}|{arguments!r}".encode())
    file = getattr(sys.modules.get(getattr(function, "__module__", "")), "__file__", None)
    if file is not None:
        home = Path(file).parent
        code = [Path(file)] if not (home / "__init__.py").is_file() else sorted(home.glob("*.py"))
        for path in [*code, *sorted(Path(__file__).parents[1].joinpath("motion").glob("*.py"))]:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
