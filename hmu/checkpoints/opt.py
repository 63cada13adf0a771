"""The authors' ``opt.txt``: one ``key: value`` per line between two banner lines; forks write anything.

Read as the writer meant it: ``1e-06`` is a number, ``[1, 2]`` a list, ``None`` nothing. The authors' own reader
(MoMask, HMU) leaves ``1e-06`` as text and overwrites many keys: ``tests/parity/opt.py``.
"""

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path
from typing import Any

from hmu.checkpoints.kinds import CHAINS, FLAG, FOLDER, Kind, choice, line, real, whole
from hmu.documents import read_text
from hmu.errors import CheckpointError, shown

log = logging.getLogger(__name__)
LARGEST = 1 << 20  # bytes; the authors' files have 2,000
LONGEST = 10_000  # characters of a list: a longer one stays text
HEADER = "------------ Options -------------"
FOOTER = "-------------- End ----------------"

_FLOAT = re.compile(r"[-+]?((\d+\.\d*|\.\d+)([eE][-+]?\d+)?|\d+[eE][-+]?\d+)", re.ASCII)
_INT = re.compile(r"[-+]?\d{1,400}", re.ASCII)  # Python reads no longer ones
_WORDS = {"True": True, "False": False, "None": None}
_SPECIAL_FLOATS = {"nan", "inf", "+inf", "-inf"}


def parse_value(text: str) -> Any:
    """One value of an ``opt.txt``."""
    stripped = text.strip()
    if stripped in _WORDS:
        return _WORDS[stripped]
    if _INT.fullmatch(stripped):
        return int(stripped)
    if _FLOAT.fullmatch(stripped) or stripped in _SPECIAL_FLOATS:
        return float(stripped)
    return _literal(stripped) if stripped[:1] in ("[", "(", "{") and len(stripped) <= LONGEST else stripped


def _literal(text: str) -> Any:
    """A list, tuple or mapping of plain values; anything else stays text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # TypeError: a list as a key
        return text


def read_opt(path: Path | str) -> dict[str, Any]:
    """What an ``opt.txt`` says, each value in its type.

    Raises:
        CheckpointError: one line, with the line number, for a missing file or a line that is not ``key: value``.
    """
    path = Path(path)
    options: dict[str, Any] = {}
    for number, content in enumerate(opt_lines(path), start=1):
        if content.strip() in (HEADER, FOOTER, ""):
            continue
        key, colon, value = content.partition(":")
        if not colon or not key.strip() or value[:1] not in ("", " ", "\t"):
            raise CheckpointError(f"{path}, line {number}: expected 'key: value', found '{shown(content)}'")
        key, fresh = key.strip(), parse_value(value)
        if options.get(key, fresh) != fresh:
            log.warning("%s, line %d: '%s' is there again; the last value counts", path, number, shown(key))
        options[key] = fresh
    return options


def opt_lines(path: Path) -> list[str]:
    """Its lines, whatever they end with.

    Raises:
        CheckpointError: there is no such file, or it is none of text.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such file, expected the opt.txt beside the authors' checkpoint")
    return read_text(path, CheckpointError, LARGEST).replace("\r\n", "\n").replace("\r", "\n").split("\n")


_SHARE, _WEIGHT, _LOSS = real(0, 1), real(0, 1e6), choice(("l1", "l1_smooth", "l2"))

#: what the networks and their generation need; a value that does not fit is refused
NEEDED: dict[str, Kind] = {
    "activation": choice(("gelu", "relu", "silu")),
    "beta_end": real(0, 1, inside=True),
    "beta_schedule": choice(("linear", "scaled_linear", "squaredcos_cap_v2")),
    "beta_start": real(0, 1, inside=True),
    "clip_version": line(),
    "cond_drop_prob": _SHARE,
    "cond_scale": real(0, 1000),
    "dataset_name": line(),
    "dilation_growth_rate": whole(1, 10),
    "dropout": _SHARE,
    "fps": real(1, 1000),
    "kinematic_chain": CHAINS,
    "max_motion_length": whole(40, 10_000),
    "mu": _SHARE,
    "n_heads": whole(1, 256),
    "num_inference_timesteps": whole(1, 10_000),
    "num_train_timesteps": whole(1, 10_000),
    "prediction_type": choice(("v_prediction", "epsilon", "sample")),
    "quantize_dropout_prob": _SHARE,
    "shared_codebook": FLAG,
    "unit_length": whole(1, 64),
    "vae_name": FOLDER,
    "vq_act": choice(("relu", "silu", "gelu")),
    "vq_name": FOLDER,
    "vq_norm": choice(("LN", "GN", "BN")),
}
#: what only further training needs: a fork's own term is left out with a warning, the model still loads
OBJECTIVE: dict[str, Kind] = {
    "commit": _WEIGHT,
    "lambda_kl": _WEIGHT,
    "lambda_pos": _WEIGHT,
    "lambda_vel": _WEIGHT,
    "loss_vel": _WEIGHT,
    "recon_loss": _LOSS,
    "recons_loss": _LOSS,
}
#: terms of the authors' own programs (``lambda_…``) that nothing here trains with
_OTHERS = "recon fake gan_l gan_mt gan_mv kld rec rec_init rec_mot rec_mov"
_OTHER_TERMS = {f"lambda_{name}" for name in _OTHERS.split()}


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
            if kind is _LOSS and isinstance(given[key], str):
                foreign.append(f"{key}={shown(given.pop(key), 20)}")
                continue
            value = shown(given[key])
            raise CheckpointError(f"{path}: {key}={value}, expected {kind.words}; correct the file") from error
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        named = ", ".join(shown(name, 40) for name in foreign[:3])
        log.warning("%s: terms of a loss that are not known here: %s%s; training on goes without", path, named, more)
    return given
