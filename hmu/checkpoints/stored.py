"""Which class a model folder of ours holds: the configuration tree names it."""

from __future__ import annotations

from pathlib import Path

from hmu.build import built_class, options
from hmu.checkpoints.folders import family_of
from hmu.checkpoints.pretrained import Pretrained
from hmu.documents import read_yaml
from hmu.errors import CheckpointError, ConfigError, shown


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
