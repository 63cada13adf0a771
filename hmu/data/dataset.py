"""A folder in HumanML3D layout: what ``configs/dataset/*.yaml`` instantiates.

``new_joint_vecs/<id>.npy``, ``texts/<id>.txt``, ``Mean.npy``, ``Std.npy``, and one list of ids per split
(``train.txt`` ...). Ids that start with ``M`` are mirrored clips; they are ordinary clips with files of their own.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from hmu.checkpoints.sealed import remove_leftovers
from hmu.data.clips import MotionClips
from hmu.data.files import clip_id, existing
from hmu.data.generated import Generated, recipe_key
from hmu.data.packed import Pack, pack, source_key
from hmu.data.reading import MAX_KEPT, build_entries, reading_rule
from hmu.data.soundness import check_limits, counted, read_statistic, unused
from hmu.documents import read_lines
from hmu.errors import ConfigError, DataError
from hmu.motion.representation import Representation, skeleton_representation

log = logging.getLogger(__name__)
ADVICE = "set dataset.root, or run  python -m hmu.tools.doctor  with this dataset=… to see where the data come from"


class DatasetSource:
    """A data set on disk, packed on first use. Python gets the numbers of a file by ``configured("dataset", "bvh")``.

    Args:
        name: used in messages, run folders and concept overrides.
        root: the folder; None = inside ``cache_dir``, where ``generator`` is called with it.
        features: columns of a motion (263; KIT 251).
        min_frames: shorter clips are never used, nor those of 200 frames and more (published rule).
        max_frames, unit_length: longest length handed out; all are multiples of ``unit_length``.
        splits: split files that must exist; all clips they list are packed.
        rule: reading rule, see :data:`hmu.data.reading.RULES`.
        strict: any missing or broken file is an error (all are listed at once); otherwise they are skipped and counted.
        requirements: what ``python -m hmu.tools.doctor`` checks.
        representation: what the columns are; None = HumanML3D's or KIT's, by their number.

    Raises:
        ConfigError: an impossible value.
    """

    longest: ClassVar[int | None] = MAX_KEPT - 1  #: no ``max_frames`` beyond; None = any
    measured_by: ClassVar[str] = ""  #: the suite and the evaluator that its motions need; empty = the configured ones

    def __init__(
        self,
        name: str,
        root: str | Path | None = None,
        *,
        fps: float,
        features: int,
        min_frames: int,
        max_frames: int,
        unit_length: int,
        cache_dir: str | Path,
        motion_dir: str,
        text_dir: str,
        splits: Sequence[str],
        rule: str,
        strict: bool,
        generator: Callable[[Path], object] | None = None,
        requirements: Sequence[Mapping[str, Any]] = (),
        representation: Representation | None = None,
    ) -> None:
        if root is None and generator is None:
            raise ConfigError(
                f"data set '{name}': dataset.root is empty; give the folder that holds {motion_dir}/ and {text_dir}/"
            )
        check_limits(name, splits, fps, features, (unit_length, min_frames, max_frames), self.longest)
        self.name, self.fps, self.features, self.unit_length = name, float(fps), features, unit_length
        self.representation = representation or skeleton_representation(features, float(fps))
        self.min_frames, self.max_frames, self.strict = min_frames, max_frames, strict
        self.cache_dir, self.generator = Path(cache_dir), generator
        self.motion_dir, self.text_dir, self.splits = motion_dir, text_dir, tuple(splits)
        self.rule_name, self.rule = rule, reading_rule(rule)
        self.requirements = tuple(requirements)
        self._given = root is not None  # a folder the user names is never made up: a typing mistake must be said
        self.root = Path(root) if root is not None else self.cache_dir / f"{name}-{recipe_key(generator)}"

    # -- files --------------------------------------------------------------------------------------------------------
    def motion_file(self, clip: str) -> Path:
        """The ``.npy`` of a clip."""
        return self.root / self.motion_dir / f"{clip}.npy"

    def text_file(self, clip: str) -> Path:
        """The captions of a clip."""
        return self.root / self.text_dir / f"{clip}.txt"

    def split_file(self, split: str) -> Path:
        """The list of ids of ``split``."""
        return self.root / f"{split}.txt"

    def split_root(self) -> Path:
        """The folder of the split files, generated first where the data set is procedural."""
        self._ensure_root()
        return self.root

    def prepare(self) -> DatasetSource:
        """Generate, pack and check everything, all troubles in one DataError; returns itself."""
        _ = self.pack
        return self

    @cached_property
    def pack(self) -> Pack:
        """The packed motions and captions of every split, with what is missing or never read said once."""
        self._report(self._packed)
        return self._packed

    @cached_property
    def _packed(self) -> Pack:
        if not self._given:
            remove_leftovers(self.root.parent, prefix=f"{self.root.name}.")
        self._ensure_root()
        missing = [f"{s}.txt" for s in self.splits if not self.split_file(s).is_file()]
        missing += [f"{d}/" for d in (self.motion_dir, self.text_dir) if not (self.root / d).is_dir()]
        if missing:
            raise DataError(f"data set '{self.name}': {self.root} lacks {', '.join(missing)}; {ADVICE}")
        ids = list(dict.fromkeys(clip for split in self.splits for clip in self.split_ids(split)))
        layout, generated = (self.features, self.motion_dir, self.text_dir), self._generated
        if generated is None:
            files = [
                (self.root / self.motion_dir, [_spelled(self.motion_file(clip), f"{clip}.npy") for clip in ids]),
                (self.root / self.text_dir, [_spelled(self.text_file(clip), f"{clip}.txt") for clip in ids]),
            ]
            key = source_key(files, (str(self.root.resolve()), *layout))
        else:  # known by its content, wherever it lies
            key = source_key((), (generated.ready().mark, *layout, *ids))
        target = self.cache_dir / "packed" / f"{self.name}-{key}"
        before = None if generated is None else generated.check
        return pack(target, ids, self.motion_file, self.text_file, self.features, before)

    @cached_property
    def _generated(self) -> Generated | None:
        """What makes the folder and checks it; None for a folder that the user has named."""
        return None if self._given or self.generator is None else Generated(self.name, self.root, self.generator)

    def _ensure_root(self) -> None:
        if self._generated is not None:
            self._generated.ready()
        elif not self.root.is_dir():
            raise DataError(f"data set '{self.name}': folder {self.root} does not exist; {ADVICE}")

    def _report(self, packed: Pack) -> None:
        others = {clip for split in set(self.splits) - {"test", "all"} for clip in self.split_ids(split)}
        overlap = sorted(others.intersection(self.split_ids("test"))) if "test" in self.splits else []
        broken = dict(packed.problems) | ({"listed in test and in another split": overlap} if overlap else {})
        where = f"data set '{self.name}' in {self.root}"
        if not self.used_ids:
            raise DataError(f"{where} has no usable clip: {counted(broken | self.unused) or 'empty split files'}")
        if broken and self.strict:
            raise DataError(f"{where}: {counted(broken)}. Mend the files, or set dataset.strict=false to skip them")
        if skipped := counted(broken | self.unused):
            counts = f"{len(self.used_ids)} of {len(self.all_ids)} clips are usable"
            log.warning("data set '%s': %s; skipped: %s", self.name, counts, skipped)

    @cached_property
    def all_ids(self) -> frozenset[str]:
        """Every id of every split, read or not."""
        return frozenset(clip for split in self.splits for clip in self.split_ids(split))

    # -- contents -----------------------------------------------------------------------------------------------------
    def split_ids(self, split: str) -> tuple[str, ...]:
        """The ids of a split file, in order, without blanks and repetitions; DataError if there is no such file.

        ``train_val`` is train followed by val where no such file exists; ``a+b`` joins splits.
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
        return tuple(dict.fromkeys(map(clip_id, read_lines(path))))

    @cached_property
    def used_ids(self) -> frozenset[str]:
        """Clips that are read: they have an entry, so a usable caption and a length within the limits."""
        return frozenset(self._packed.ids[number] for number in np.unique(self._clips.table.clip).tolist())

    @cached_property
    def unused(self) -> dict[str, list[str]]:
        """Sound clips that are never read, by reason."""
        return unused(self._packed, np.unique(self._clips.table.clip), self.min_frames)

    def usable_ids(self, split: str) -> tuple[str, ...]:
        """The ids of ``split`` whose clips are read, in order."""
        _ = self.pack
        return tuple(clip for clip in self.split_ids(split) if clip in self.used_ids)

    def skipped(self, split: str) -> dict[str, str]:
        """The ids of ``split`` whose clips are never read, with the reason."""
        kinds = {**self.pack.problems, **self.unused}
        reasons = {clip: kind for kind, ids in reversed(kinds.items()) for clip in ids}
        return {c: reasons.get(c, "not in dataset.splits") for c in self.split_ids(split) if c not in self.used_ids}

    @cached_property
    def _clips(self) -> MotionClips:
        frames = np.diff(self._packed.offsets)
        table = build_entries(self._packed.lines, frames, self.rule, fps=self.fps, min_frames=self.min_frames)
        return MotionClips(self._packed, table, self.unit_length, self.max_frames, self.rule.exact_tokens)

    @cached_property
    def clip_number(self) -> dict[str, int]:
        """From a clip id to its number in the pack."""
        return {clip: number for number, clip in enumerate(self.pack.ids)}

    def clips(self, split: str, ids: Collection[str] | None = None) -> MotionClips:
        """The entries of ``split`` (of those clips among ``ids`` only), in the order of the split file.

        DataError if nothing is left, or an id of the split is not part of the packed splits.
        """
        listed = self.split_ids(split)
        unknown = [clip for clip in listed if clip not in self.all_ids]
        if unknown:
            raise DataError(
                f"data set '{self.name}': split '{split}' lists {unknown[0]} (and {len(unknown) - 1} more), "
                "which no split in dataset.splits holds"
            )
        asked = [clip for clip in listed if clip in self.clip_number and (ids is None or clip in ids)]
        order = np.full(len(self.pack.ids), -1, dtype=np.int64)
        order[[self.clip_number[clip] for clip in asked]] = np.arange(len(asked))
        rank = order[self._clips.table.clip]
        rows = np.flatnonzero(rank >= 0)
        if not self.rule.by_length:
            rows = rows[np.argsort(rank[rows], kind="stable")]
        if not len(rows):
            among = "" if ids is None else f", {len(ids)} ids asked for"
            raise DataError(
                f"data set '{self.name}': split '{split}' has no entry within the limits "
                f"({self.min_frames} to {MAX_KEPT - 1} frames{among})"
            )
        return self._clips.subset(rows)

    def caption_lines(self, clip: str) -> list[str]:
        """The raw lines of a clip's caption file, blank ones included; DataError for an unknown clip."""
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
        try:
            return read_statistic(self.root / filename, self.features, divides=filename == "Std.npy")
        except DataError as error:
            raise DataError(f"data set '{self.name}': {error}") from error

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all content and of how it is read."""
        reading = f"{self.rule_name}|{self.min_frames}|{self.max_frames}|{self.unit_length}|{self.fps}"
        return hashlib.sha256(f"{self.pack.fingerprint}|{reading}".encode()).hexdigest()


def _spelled(path: Path, name: str) -> str:
    """``name``, or with accents as the file on disk has them."""
    return name if name.isascii() else name.removesuffix(path.name) + existing(path).name
