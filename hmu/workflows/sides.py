"""Who forgets and who is kept, as the user says it: by the concept's keywords, or by two lists of clips."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from hmu.data.concepts import Concept
from hmu.data.dataset import DatasetSource
from hmu.data.divide import listed_sides, partition_by_concept, partition_from_files
from hmu.data.partition import Partition
from hmu.errors import ConfigError, DataError

log = logging.getLogger(__name__)
KEYS = ("forget_file", "retain_file")


def lists_of(config: DictConfig) -> tuple[Path, Path] | None:
    """The two lists of clip ids of the configuration; None where there are none."""
    given = [OmegaConf.select(config, key) for key in KEYS]
    if any(given) and not all(given):
        raise ConfigError("forget_file and retain_file belong together: give both, or neither")
    return (Path(given[0]), Path(given[1])) if all(given) else None


def partition(
    config: DictConfig,
    source: DatasetSource,
    split: str,
    concept: Concept,
    neighbours: Mapping[str, Concept] | None = None,
) -> Partition:
    """Forget and retain ids of a split: from the user's lists, else by the concept's keywords.

    ``neighbours`` are given for a split that is measured. Lists that unlearning learns from may hold training clips
    only; then the keywords divide the measured split.

    Raises:
        ConfigError: when only one of the two files is given.
        DataError: when a side is empty; also one list that holds clips of the split beside one that does not.
    """
    lists = lists_of(config)
    if lists is not None:
        members = set(source.split_ids(split))
        named = any(clip in members for side in listed_sides(source, *lists) for clip in side)
        if neighbours is None or named:
            return partition_from_files(source, split, *lists)
        log.info("forget_file and retain_file hold no clip of '%s': it is divided by the concept's keywords", split)
    return partition_by_concept(source, split, concept, neighbours=neighbours)


def check_lists(config: DictConfig, source: DatasetSource, split: str) -> None:
    """Refuse lists that were given for measuring and hold nothing of the measured split."""
    lists = lists_of(config)
    if lists is not None:
        try:
            partition_from_files(source, split, *lists)
        except DataError as error:
            raise DataError(f"{error}; what is measured is suite.split={split}") from None
