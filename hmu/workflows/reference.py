"""The retain-only reference: a model of the same kind that has never been shown the concept."""

from __future__ import annotations

from pathlib import Path

from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from hmu.backbones.base import MotionBackbone
from hmu.errors import CheckpointError, ConfigError, HmuError
from hmu.evaluation.suite import Model
from hmu.methods.edit import fingerprint, weights_of
from hmu.run import load_config
from hmu.workflows.common import build_backbone

REMEDY = "train one with python train.py partition=retain concept=… and the same backbone"


def load_reference(config: DictConfig, backbone: MotionBackbone) -> Model:
    """The model in ``config.reference``, on the backbone's device.

    Raises:
        CheckpointError: no run folder of ``train.py``, or a model of another family or of other sizes.
        ConfigError: a model that was not trained on the retain side of this concept.
    """
    folder = Path(config.reference)
    model = folder / "model" if (folder / "model").is_dir() else folder
    if not model.is_dir():
        raise CheckpointError(f"reference: '{folder}' is not a run folder of train.py (it holds no model/): {REMEDY}")
    home = next((path for path in (folder, folder.parent) if (path / "config.yaml").is_file()), None)
    if home is not None:
        _check_run(config, home)
    try:
        reference = build_backbone(config, checkpoint=str(model))
    except (HmuError, InstantiationException) as error:
        if not isinstance(error, HmuError) and not isinstance(error.__cause__, HmuError):
            raise
        said = error.__cause__ if isinstance(error.__cause__, HmuError) else error
        raise CheckpointError(f"reference: '{folder}' is no model of backbone {backbone.name}: {said}") from error
    _check_sizes(backbone, reference, folder)
    return Model("reference", reference.to(next(backbone.parameters()).device), fingerprint(reference))


def _check_run(config: DictConfig, home: Path) -> None:
    """Refuse, by its ``config.yaml``, a run of another family, or one that has seen what should be forgotten."""
    ran = load_config(home)
    theirs, ours = (OmegaConf.select(c, "backbone._target_") for c in (ran, config))
    if theirs is not None and theirs != ours:
        raise CheckpointError(
            f"reference: '{home}' was trained with backbone {theirs}, but what is measured is {ours}: {REMEDY}"
        )
    side, concept = OmegaConf.select(ran, "partition"), OmegaConf.select(ran, "concept.name")
    if side is not None and (side != "retain" or concept != config.concept.name):
        raise ConfigError(
            f"reference: '{home}' was trained on partition={side} of concept={concept}, "
            f"expected partition=retain of concept={config.concept.name}: {REMEDY}"
        )


def _check_sizes(backbone: MotionBackbone, reference: MotionBackbone, folder: Path) -> None:
    mine, other = ({n: tuple(w.shape) for n, w in weights_of(b.network()).items()} for b in (backbone, reference))
    unlike = sorted(name for name in mine.keys() | other.keys() if mine.get(name) != other.get(name))
    if unlike or backbone.features != reference.features:
        what = f"'{unlike[0]}' is {other.get(unlike[0])}, not {mine.get(unlike[0])}" if unlike else "other columns"
        raise CheckpointError(f"reference: '{folder}' has other sizes than the backbone ({what}): {REMEDY}")
