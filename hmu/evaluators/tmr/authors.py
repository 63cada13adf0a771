"""The authors' run directories of TMR (``last_weights/`` or ``logs/checkpoints/``); the Hydra target that opens any."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hmu.checkpoints.authors import naming
from hmu.checkpoints.folders import CONFIG
from hmu.checkpoints.kinds import line
from hmu.checkpoints.pretrained import builds
from hmu.checkpoints.safe import load_plain, load_tensors
from hmu.errors import CheckpointError, ConfigError
from hmu.evaluators.tmr.evaluator import PUBLISHED, TMREvaluator
from hmu.evaluators.tmr.settings import PARTS, authors_objective, authors_settings, run_config, stated, widths
from hmu.text.base import TextEncoder
from hmu.text.compact import CompactTextEncoder
from hmu.text.huggingface import TransformerTextEncoder

ENCODERS = ("motion_encoder", "text_encoder")
State = Mapping[str, Tensor]


def is_authors(folder: Path) -> bool:
    """Whether a folder is a run directory of the authors' training."""
    return (folder / "last_weights").is_dir() or (folder / "logs" / "checkpoints" / "last.ckpt").is_file()


def load_parts(run: Path | str) -> dict[str, dict[str, Tensor]]:
    """State dicts of the networks (any shape): ``last_weights/*.pt``, or the Lightning checkpoint of a training.

    The decoder may be absent (evaluation needs the encoders only); CheckpointError where an encoder is.
    """
    run = Path(run)
    weights = run / "last_weights"
    if weights.is_dir():
        files = {name: weights / f"{name}.pt" for name in PARTS}
        return {name: load_tensors(p) for name, p in files.items() if p.is_file() or name in ENCODERS}
    path = run / "logs" / "checkpoints" / "last.ckpt"
    stored = load_tensors(path).get("state_dict")
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in stored.items() if isinstance(stored, Mapping) else ():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = value
    missing = [name for name in ENCODERS if name not in parts]
    if missing:
        raise CheckpointError(f"{path}: has no '{missing[0]}.…' weights, expected TMR's {', '.join(PARTS)}")
    return {name: parts[name] for name in PARTS if name in parts}


def part_sizes(state: State) -> dict[str, int]:
    """``ff`` and ``layers`` of one network from its tensor shapes; CheckpointError if they cannot be told."""
    names = [name for name in state if name.endswith(".linear1.weight")]
    layers = {name.split(".layers.")[1].split(".")[0] for name in names if ".layers." in name}
    if not layers:
        raise CheckpointError("no transformer layers: not a network of TMR")
    return {"ff": int(state[names[0]].shape[0]), "layers": len(layers)}


def from_parts(
    parts: Mapping[str, State],
    source: str,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    text: TextEncoder | None = None,
    **options: Any,
) -> TMREvaluator:
    """An evaluator of the stored widths with these weights, state dicts by network; the decoder may be absent.

    ``source`` names the file in messages; ``settings``: per network what no shape tells (``heads``, ``dropout``, …).
    """
    with naming(source, "TMR's networks"):
        networks = {name: {**(settings or {}).get(name, {}), **part_sizes(state)} for name, state in parts.items()}
        sizes = widths({f"{part}.{name}": value for part in ENCODERS for name, value in parts[part].items()})
        if text is not None and text.width != sizes["text_width"]:
            raise ConfigError(
                f"its text encoder reads tokens of width {sizes['text_width']}, the given one has {text.width}: use "
                "the language model it was trained with (text@evaluator.text=distilbert "
                "evaluator.text.name_or_folder=…)"
            )
        given = {key: value for key, value in options.items() if value is not None or key == "threshold"}
        heads = networks["motion_encoder"].get("heads", PUBLISHED["heads"])
        evaluator = TMREvaluator(text=text, parts=networks, **{**PUBLISHED, **sizes, "heads": heads, **given})
        for name, state in parts.items():
            getattr(evaluator, name).load_state_dict(dict(state))
    return evaluator.eval()


def from_authors(
    run: Path | str, statistics: Path | str | None = None, text: TextEncoder | None = None, **options: Any
) -> TMREvaluator:
    """Load a run directory of the authors: weights, and the statistics of its motions.

    Args:
        run: folder with ``config.json`` and ``last_weights/`` (published) or ``logs/checkpoints/last.ckpt``.
        statistics: folder with ``mean.pt`` and ``std.pt``; None looks for the one that ``config.json`` names, relative
            to the run directory and the folders above it.
        text: encoder of captions; None: the language model that ``config.json`` names, through ``transformers``.
        options: win over ``config.json``.
    """
    run = Path(run)
    config, path = run_config(run)
    settings, training = authors_settings(config, path), {**authors_objective(config, path), **options}
    if text is None:
        text = _named_model(stated(config, path, "data.text_to_token_emb.modelname", line()), path, run)
    evaluator = from_parts(load_parts(run), str(run), settings, text, **training)
    base = stated(config, path, "data.motion_loader.normalizer.base_dir", line())
    folder = _statistics_folder(run, base, statistics)
    mean, std = (_load_vector(folder / f"{name}.pt") for name in ("mean", "std"))
    with naming(folder, "TMR's statistics"):
        evaluator.statistics.assign(mean, std)
    return evaluator


def _named_model(name: str | None, path: Path, run: Path) -> TextEncoder:
    if not name:
        raise CheckpointError(f"{path}: names no data.text_to_token_emb.modelname; give evaluator.text")
    try:
        return TransformerTextEncoder(name)
    except CheckpointError as error:
        raise CheckpointError(
            f"{run}: its captions are read by '{name}', which is not here; give its folder: "
            "text@evaluator.text=distilbert evaluator.text.name_or_folder=<folder>"
        ) from error


def _statistics_folder(run: Path, base: str | None, given: Path | str | None) -> Path:
    if given is not None:
        return Path(given).expanduser()
    if base:
        for above in (run, *run.absolute().parents):
            if (above / base / "mean.pt").is_file():
                return above / base
    raise CheckpointError(
        f"{run}: its motion statistics ('{base}') are neither in it nor in a folder above; "
        "set evaluator.statistics=<folder with mean.pt and std.pt>"
    )


def _load_vector(path: Path) -> Tensor:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file, expected TMR's statistics; they come in the folder stats/")
    value = load_plain(path)
    if not isinstance(value, Tensor):
        raise CheckpointError(f"{path}: holds a {type(value).__name__}, expected a tensor")
    return value


@builds(TMREvaluator)
def build(
    checkpoint: str | Path | None,
    statistics: str | Path | None = None,
    **options: Any,
) -> TMREvaluator:
    """The ``_target_`` of ``configs/evaluator/tmr.yaml``: a stored evaluator, or an untrained one of the given sizes.

    Args:
        checkpoint: our folder, or the authors' run directory, whose sizes win; ``asset:<folder>`` for a packaged one;
            None = untrained.
        statistics: folder with the authors' ``mean.pt`` and ``std.pt`` where it is not found beside the run directory.
        options: arguments of :class:`TMREvaluator`. The authors' weights read a language model: a compact ``text`` is
            then replaced by the model that their ``config.json`` names. A stored one wins.
    """

    def authors(folder: Path, text: TextEncoder | None = None, **training: Any) -> TMREvaluator | None:
        if is_authors(folder):
            compact = isinstance(text, CompactTextEncoder)
            return from_authors(folder, statistics, None if compact else text, **training)
        if not (folder / CONFIG).is_file():
            raise CheckpointError(
                f"{folder}: no TMR there; expected {CONFIG} with weights.safetensors (ours) or last_weights/ (the "
                "authors')"
            )
        return None

    if "threshold" in options:
        options["threshold"] = options["threshold"] or 0.0  # null turns the filter off, in a stored evaluator too
    return TMREvaluator.open(checkpoint, authors, **options)
