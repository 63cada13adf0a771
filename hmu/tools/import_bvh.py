"""BVH files and captions to a HumanML3D data set.

``python -m hmu.tools.import_bvh source=<folder or .tar.xz> captions=<csv> target=<folder> [mapping=bandai_pelvis44]``

The target holds ``new_joint_vecs/`` (features), ``new_joints/`` (the resized joints those features decode to, as
published), ``joints/`` (the joints before resizing: source bone lengths, metres, y up, 20 fps), ``texts/``, the split
lists, ``Mean.npy``, ``Std.npy`` and ``import.json`` (what was done, and every clip left out with its reason). It
appears complete or not at all: the work happens in a folder beside it that is renamed at the end. An import that is
replaced (``overwrite=true``) gives up the files that it wrote; others that lie in its folder stay (:mod:`hmu.outputs`).
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import DictConfig

from hmu.app import CONFIGS, main
from hmu.errors import ConfigError, DataError
from hmu.outputs import beside, claim_folder
from hmu.progress import phase
from hmu.values import Count, Place, Positive
from hmu.values import Keys as Declared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hmu.motion.mapping import JointMapping

log = logging.getLogger(__name__)


@dataclass
class Summary:
    """What an import did: ids written, and reasons by id for those left out."""

    written: list[str] = field(default_factory=list)
    frames: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For a person."""
        shown = [f"  skipped {name}: {reason}" for name, reason in list(self.skipped.items())[:20]]
        if len(self.skipped) > 20:
            shown.append(f"  … and {len(self.skipped) - 20} more, see import.json")
        return [f"{len(self.written)} clips, {self.frames} frames; {len(self.skipped)} left out", *shown]


@dataclass(frozen=True)
class Converter:
    """Turns the bytes of one BVH file into joints and features; travels to worker processes."""

    mapping: JointMapping
    fps: float
    offsets: NDArray[np.float64] | None
    facing: str

    def joints(self, name: str, content: bytes) -> NDArray[np.float64]:
        """Normalised source joints ``(frames, 22, 3)``; DataError for a broken or too short file."""
        from hmu.motion.bvh import parse_bvh

        joints = self.mapping.apply(parse_bvh(content.decode("utf-8-sig", errors="replace"), f"{name}.bvh"), self.fps)
        if len(joints) < 2:
            raise DataError(f"{len(joints)} frame at {self.fps:g} frames per second: a clip needs at least 2")
        return joints

    def __call__(self, name: str, content: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]] | str:
        """``(joints, features)``, or the reason why there are none."""
        from hmu.motion.features import joints_to_features
        from hmu.motion.skeleton import T2M

        try:
            joints = self.joints(name, content)
            facing: Any = self.facing
            return joints, joints_to_features(joints, T2M, target_offsets=self.offsets, facing=facing)
        except DataError as error:
            return str(error).removeprefix(f"{name}.bvh: ")


class Keys(Declared):
    """What ``configs/import_bvh.yaml`` holds."""

    source: Place
    captions: Place | None
    target: Place
    mapping: Place
    splits: Place | None
    texts: Place | None
    target_skeleton: str | None
    facing: Literal["upstream", "true", True]
    statistics: Literal["train", "all"]
    fps: Positive
    workers: Count
    overwrite: bool


def run(config: DictConfig) -> Summary:
    """Import one collection; returns what was written and what was left out.

    Raises:
        ConfigError: unknown mapping, captions and texts both missing, or an existing target.
        DataError: unreadable source, captions, texts or splits, or nothing that could be imported.
    """
    source, target = Path(config.source), Path(config.target)
    if target.resolve() == source.resolve() or target.resolve() in source.resolve().parents:
        raise ConfigError(f"target '{target}' holds the source: choose another folder")
    place = claim_folder(target, "target", "import_bvh", overwrite=config.overwrite)
    mapping, texts = load_mapping(config.mapping), _texts(config)
    names = member_names_checked(source)
    converter = Converter(mapping, float(config.fps), _offsets(config, source, mapping), str(config.facing).lower())
    with beside(target) as work:
        summary = _convert_all(source, work, converter, texts, workers=config.workers, total=len(names))
        _finish(config, work, summary)
        place.replace_with(work)
    for line in [f"{target}:", *summary.lines()]:
        sys.stdout.write(line + "\n")
    return summary


def load_mapping(name: str) -> JointMapping:
    """A mapping by its name in ``configs/bvh_mapping`` or by the path of a YAML file of one's own."""
    from omegaconf import OmegaConf

    from hmu.build import instantiate, read_received

    known = sorted(path.stem for path in (CONFIGS / "bvh_mapping").glob("*.yaml"))
    path = CONFIGS / "bvh_mapping" / f"{name}.yaml" if name in known else Path(name)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        raise ConfigError(f"no mapping '{name}': use {', '.join(known)}, or the path of a YAML file like those")
    content = read_received(path, "bvh_mapping")
    try:
        mapping: JointMapping = instantiate(OmegaConf.create(content), _convert_="all")
    except Exception as error:
        cause = error.__cause__ if isinstance(error.__cause__, ConfigError) else error
        raise ConfigError(f"mapping '{path}': {cause}") from None
    return mapping


def member_names_checked(source: Path) -> list[str]:
    """Clip names of a source; DataError if there are none."""
    from hmu.tools.import_sources import member_names

    names = member_names(source, ".bvh")
    if not names:
        raise DataError(f"'{source}' holds no .bvh file")
    return names


def _texts(config: DictConfig) -> Callable[[str], str | None]:
    """The text file of a clip: ready-made if given, else written from its captions; None without any."""
    from hmu.tools.import_sources import read_captions, read_texts, text_file

    if config.captions is None and config.texts is None:
        raise ConfigError("give captions=<csv>, or texts=<folder or archive of ready-made text files>")
    ready = read_texts(Path(config.texts)) if config.texts is not None else {}
    captions = read_captions(Path(config.captions)) if config.captions is not None else {}

    def text(name: str) -> str | None:
        if name in ready:
            return ready[name]
        return text_file(captions[name]) if name in captions else None

    return text


def _offsets(config: DictConfig, source: Path, mapping: JointMapping) -> NDArray[np.float64] | None:
    from hmu.motion.features import bone_offsets
    from hmu.motion.reference import humanml3d_offsets, offsets_from_file
    from hmu.motion.skeleton import T2M
    from hmu.tools.import_sources import read_members

    if config.target_skeleton is None:
        return None
    if config.target_skeleton == "humanml3d":
        return humanml3d_offsets()
    if config.target_skeleton != "first":
        return offsets_from_file(config.target_skeleton)
    probe = Converter(mapping, float(config.fps), None, str(config.facing).lower())
    for name, content in read_members(source, ".bvh"):
        try:
            return bone_offsets(probe.joints(name, content)[0], T2M)
        except DataError:
            continue  # reported when its turn comes
    raise DataError(f"'{source}': no file could be read to take the skeleton from")


def _convert_all(
    source: Path, work: Path, converter: Converter, texts: Callable[[str], str | None], *, workers: int, total: int
) -> Summary:
    import numpy as np

    from hmu.motion.features import features_to_joints
    from hmu.motion.skeleton import T2M
    from hmu.tools.import_sources import write_text

    for folder in ("new_joints", "new_joint_vecs", "joints", "texts"):
        (work / folder).mkdir()
    summary = Summary()
    with phase("importing", total, "clips") as done:
        for name, result in _results(_captioned(source, texts, summary, done.advance), converter, workers):
            done.advance()
            if isinstance(result, str):
                summary.skipped[name] = result
                continue
            joints, features = result
            np.save(work / "joints" / f"{name}.npy", joints.astype(np.float32))
            np.save(work / "new_joints" / f"{name}.npy", features_to_joints(features, T2M).astype(np.float32))
            np.save(work / "new_joint_vecs" / f"{name}.npy", features.astype(np.float32))
            write_text(work / "texts" / f"{name}.txt", texts(name) or "")
            summary.written.append(name)
            summary.frames += len(features)
    return summary


def _captioned(
    source: Path, texts: Callable[[str], str | None], summary: Summary, count: Callable[[], object]
) -> Iterator[tuple[str, bytes]]:
    """Files that have captions and whose name is new; the others go to the summary at once."""
    from hmu.tools.import_sources import read_members

    seen: set[str] = set()
    for name, content in read_members(source, ".bvh"):
        if name in seen:
            summary.skipped[f"{name} (again)"] = "another file of the same name was read before"
            count()
        elif texts(name) is None:
            summary.skipped[name] = "no caption"
            count()
        else:
            yield name, content
        seen.add(name)


def _results(clips: Iterable[tuple[str, bytes]], converter: Converter, workers: int) -> Iterator[tuple[str, Any]]:
    """Converted clips in order; with several workers only a few files are in memory at a time."""
    if workers == 1:
        for name, content in clips:
            yield name, converter(name, content)
        return
    with ProcessPoolExecutor(workers) as pool:
        waiting: deque[tuple[str, Future[Any]]] = deque()
        for name, content in clips:
            waiting.append((name, pool.submit(converter, name, content)))
            if len(waiting) > 4 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def _finish(config: DictConfig, work: Path, summary: Summary) -> None:
    """Split lists, statistics and the import record."""
    import numpy as np

    from hmu.motion.statistics import motion_statistics
    from hmu.tools.import_sources import hashed_splits, read_splits, write_splits, write_text

    if not summary.written:
        (reason, count), *_ = Counter(summary.skipped.values()).most_common(1)
        example = next(name for name, why in summary.skipped.items() if why == reason)
        raise DataError(f"nothing could be imported; {count} of {len(summary.skipped)} files ({example}, …): {reason}")
    everything = sorted(summary.written)
    lists, missing = hashed_splits(everything), 0
    if config.splits is not None:
        lists, missing = read_splits(Path(config.splits), set(everything))
        unlisted = len(everything) - sum(len(ids) for ids in lists.values())
        if missing or unlisted:
            log.warning(
                "splits: %d listed clips were not imported, %d imported clips are in no list", missing, unlisted
            )
    write_splits(work, lists, everything)
    used = lists["train"] if config.statistics == "train" and lists["train"] else everything
    mean, std = motion_statistics(np.load(work / "new_joint_vecs" / f"{name}.npy") for name in used)
    np.save(work / "Mean.npy", mean.astype(np.float32))
    np.save(work / "Std.npy", std.astype(np.float32))
    settings = ("source", "captions", "texts", "mapping", "splits", "fps", "target_skeleton", "facing", "statistics")
    record = {key: config[key] for key in settings} | {
        "clips": len(everything),
        "frames": summary.frames,
        "split_sizes": {name: len(ids) for name, ids in lists.items()},
        "skipped": summary.skipped,
    }
    write_text(work / "import.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main("import_bvh", run, Keys, sweeps=False)
