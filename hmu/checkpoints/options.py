"""The options of the authors' ``opt.txt`` that are used here, each with its type and range: forks write anything."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hmu.checkpoints.kinds import Chains, Choice, Flag, Folder, Kind, Real, Text, Whole
from hmu.checkpoints.opt import read_opt
from hmu.errors import CheckpointError, shown

log = logging.getLogger(__name__)
LOSSES = ("l1", "l1_smooth", "l2")
_SHARE, _WEIGHT = Real(0, 1), Real(0, 1e6)

#: what the networks and their generation need; a value that does not fit is refused
NEEDED: dict[str, Kind] = {
    "activation": Choice(("gelu", "relu", "silu")),
    "beta_end": Real(0, 1, inside=True),
    "beta_schedule": Choice(("linear", "scaled_linear", "squaredcos_cap_v2")),
    "beta_start": Real(0, 1, inside=True),
    "clip_version": Text(),
    "cond_drop_prob": _SHARE,
    "cond_scale": Real(0, 1000),
    "dataset_name": Text(),
    "dilation_growth_rate": Whole(1, 10),
    "dropout": _SHARE,
    "fps": Real(1, 1000),
    "kinematic_chain": Chains(),
    "max_motion_length": Whole(40, 10_000),
    "mu": _SHARE,
    "n_heads": Whole(1, 256),
    "num_inference_timesteps": Whole(1, 10_000),
    "num_train_timesteps": Whole(1, 10_000),
    "prediction_type": Choice(("v_prediction", "epsilon", "sample")),
    "quantize_dropout_prob": _SHARE,
    "shared_codebook": Flag(),
    "unit_length": Whole(1, 64),
    "vae_name": Folder(),
    "vq_act": Choice(("relu", "silu", "gelu")),
    "vq_name": Folder(),
    "vq_norm": Choice(("LN", "GN", "BN")),
}
#: what only further training needs: a fork's own term is left out with a warning, the model still loads
OBJECTIVE: dict[str, Kind] = {
    "commit": _WEIGHT,
    "lambda_kl": _WEIGHT,
    "lambda_pos": _WEIGHT,
    "lambda_vel": _WEIGHT,
    "loss_vel": _WEIGHT,
    "recon_loss": Choice(LOSSES),
    "recons_loss": Choice(LOSSES),
}
#: terms of the authors' own programs that nothing here trains with
_OTHER_TERMS: tuple[str, ...] = (
    "lambda_recon",
    "lambda_fake",
    "lambda_gan_l",
    "lambda_gan_mt",
    "lambda_gan_mv",
    "lambda_kld",
)
_OTHER_TERMS += ("lambda_rec", "lambda_rec_init", "lambda_rec_mot", "lambda_rec_mov")


def read_options(path: Path | str) -> dict[str, Any]:
    """An ``opt.txt`` whose known options have their types; the others stay as :func:`read_opt` gives them.

    ``None`` and an empty value count as absent, so that the published default applies. A loss that is not known, and
    terms of a loss that are not (``lambda_…``), are named in one warning: they would only matter to further training.

    Raises:
        CheckpointError: one line naming file, option and what was expected.
    """
    given = {key: value for key, value in read_opt(path).items() if value is not None and value != ""}
    foreign = [key for key in given if key.startswith("lambda_") and key not in {*OBJECTIVE, *_OTHER_TERMS}]
    for key, kind in {**NEEDED, **OBJECTIVE}.items():
        if key not in given:
            continue
        try:
            given[key] = kind.read(given[key])
        except ValueError as error:
            if key in OBJECTIVE and isinstance(kind, Choice) and isinstance(given[key], str):
                foreign.append(f"{key}={shown(given.pop(key), 20)}")
                continue
            said = shown(given[key])
            raise CheckpointError(f"{path}: {key}={said}, expected {kind.words}; correct the file") from error
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        named = ", ".join(shown(name, 40) for name in foreign[:3])
        log.warning("%s: terms of a loss that are not known here: %s%s; training on goes without", path, named, more)
    return given
