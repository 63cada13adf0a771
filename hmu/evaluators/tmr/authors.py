"""TMR folders: the authors' run directory (``config.json``, ``last_weights/`` or ``logs/checkpoints/``) and ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hmu import documents
from hmu.checkpoints.folders import CONFIG, read_model_config
from hmu.checkpoints.pretrained import resolve
from hmu.checkpoints.safe import load_plain, load_safetensors, load_tensors, save_safetensors, write_json
from hmu.errors import CheckpointError, ConfigError, DataError, HmuError, shown
from hmu.evaluators.tmr.evaluator import PARTS, TMREvaluator
from hmu.evaluators.tmr.settings import authors_objective, authors_settings, named, our_settings, run_config
from hmu.text.base import TextEncoder
from hmu.text.compact import CompactTextEncoder
from hmu.text.stored import text_from_config, text_to_config

FORMAT = "hmu-evaluator-tmr"
ENCODERS = ("motion_encoder", "text_encoder")
State = Mapping[str, Tensor]


# -- the authors' run directory ---------------------------------------------------------------------------------------
def is_authors(folder: Path) -> bool:
    """Whether a folder is a run directory of the authors' training."""
    return (folder / "last_weights").is_dir() or (folder / "logs" / "checkpoints" / "last.ckpt").is_file()


def load_parts(run: Path | str) -> dict[str, dict[str, Tensor]]:
    """State dicts of the networks: ``last_weights/*.pt``, or the Lightning checkpoint of a training.

    The decoder may be absent (evaluation needs the encoders only).

    Raises:
        CheckpointError: an encoder is missing, or a file is broken or unsafe.
    """
    run = Path(run)
    weights = run / "last_weights"
    if weights.is_dir():
        files = {name: weights / f"{name}.pt" for name in PARTS}
        return {name: load_tensors(p) for name, p in files.items() if p.is_file() or name in ENCODERS}
    path = run / "logs" / "checkpoints" / "last.ckpt"
    stored = load_tensors(path).get("state_dict")
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in stored.items() if isinstance(stored, Mapping) else ():
        part, _, rest = name.partition(".")
        found.setdefault(part, {})[rest] = value
    missing = [name for name in ENCODERS if name not in found]
    if missing:
        raise CheckpointError(f"{path}: has no '{missing[0]}.…' weights, expected TMR's {', '.join(PARTS)}")
    return {name: found[name] for name in PARTS if name in found}


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
    """An evaluator of the stored widths with these weights.

    Args:
        parts: state dicts by network; the decoder may be absent.
        source: names the file or folder in error messages.
        settings: per network what shapes do not tell (``heads``, ``dropout``, ``activation``).
        text: reads captions; options: further arguments of :class:`TMREvaluator`.
    """
    try:
        told = {name: {**(settings or {}).get(name, {}), **part_sizes(state)} for name, state in parts.items()}
        motion, words = parts["motion_encoder"], parts["text_encoder"]
        width, features = motion["projection.weight"].shape
        read = int(words["projection.weight"].shape[1])
        if text is not None and text.width != read:
            raise ConfigError(
                f"its text encoder reads tokens of width {read}, the given one has {text.width}: use the language "
                "model it was trained with (text@evaluator.text=distilbert evaluator.text.name_or_folder=…)"
            )
        evaluator = TMREvaluator(
            features=int(features),
            text=text,
            text_width=read,
            width=int(width),
            heads=int(told["motion_encoder"].get("heads", 4)),
            parts=told,
            vae=len(motion["tokens"]) > 1,
            **options,
        )
        for name, state in parts.items():
            getattr(evaluator, name).load_state_dict(dict(state))
    except HmuError as error:
        raise type(error)(f"{source}: {error}") from error
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{source}: not TMR's networks: {type(error).__name__} {error}") from error
    except RuntimeError as error:
        raise CheckpointError(f"{source}: {shown(' '.join(str(error).split()), 120)}") from error
    return evaluator.eval()


def from_authors(
    run: Path | str,
    statistics: Path | str | None = None,
    text: TextEncoder | None = None,
    **options: Any,
) -> TMREvaluator:
    """Load a run directory of the authors: weights, and the statistics of its motions.

    Args:
        run: folder with ``config.json`` and ``last_weights/`` (published) or ``logs/checkpoints/last.ckpt``.
        statistics: folder with ``mean.pt`` and ``std.pt``; None looks for the one that ``config.json`` names, relative
            to the run directory and the folders above it.
        text: encoder of captions; None: the language model that ``config.json`` names, through ``transformers``.
        options: further arguments of :class:`TMREvaluator`; they win over ``config.json``.

    Raises:
        CheckpointError, DataError: a file is missing, broken, unsafe, or of another width.
    """
    run = Path(run)
    config, path = run_config(run)
    settings, chosen = authors_settings(config, path), {**authors_objective(config, path), **options}
    if text is None:
        text = _named_model(named(config, path, "data", "text_to_token_emb", "modelname"), path, run)
    evaluator = from_parts(load_parts(run), str(run), settings, text, **chosen)
    base = named(config, path, "data", "motion_loader", "normalizer", "base_dir")
    folder = _statistics_folder(run, base, statistics)
    try:
        evaluator.set_statistics(*(_load_vector(folder / f"{name}.pt") for name in ("mean", "std")))
    except DataError as error:
        raise DataError(f"{folder}: {error}") from error
    return evaluator


def _named_model(name: str | None, path: Path, run: Path) -> TextEncoder:
    from hmu.text.huggingface import TransformerTextEncoder  # transformers is an optional package

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


def read_json(path: Path) -> Any:
    """Parsed JSON; CheckpointError if the file is missing or broken."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file, expected a folder of TMR (theirs or ours)")
    return documents.read_json(path, CheckpointError)


# -- ours -------------------------------------------------------------------------------------------------------------
def save_pretrained(evaluator: TMREvaluator, folder: Path | str, half: bool = False, decoder: bool = True) -> None:
    """Write ``config.json`` and ``weights.safetensors``, each atomically, the configuration last.

    Args:
        evaluator: what to write; a compact text encoder is stored with it, a language model is not.
        folder: where; made if needed.
        half: store weights in float16 (statistics stay float32).
        decoder: also store the motion decoder, which only training needs.
    """
    folder = Path(folder)
    parts = [*ENCODERS, *(("motion_decoder",) if decoder else ())]
    state = {f"{n}.{key}": value for n in parts for key, value in getattr(evaluator, n).state_dict().items()}
    text = text_to_config(evaluator.text)
    if evaluator.text is not None and text is not None:
        state |= {f"text.{key}": value for key, value in evaluator.text.state_dict().items()}
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    save_safetensors(folder / "weights.safetensors", {**state, "mean": evaluator.mean, "std": evaluator.std})
    settings = {name: evaluator.parts[name] for name in parts}
    write_json(folder / "config.json", {"format": FORMAT, "version": 1, "settings": settings, "text": text})


def load_pretrained(folder: Path | str, text: TextEncoder | None = None, **options: Any) -> TMREvaluator:
    """Read a folder of :func:`save_pretrained`.

    Args:
        folder: our folder.
        text: encoder of captions for a folder that stores none; a stored one wins.
        options: arguments of :class:`TMREvaluator` other than sizes.

    Raises:
        CheckpointError: a file is missing or broken, or of another kind.
    """
    folder = Path(folder)
    config = read_model_config(folder, "tmr", "evaluator")
    tensors = load_safetensors(folder / "weights.safetensors")
    split: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        part, _, rest = key.partition(".")
        split.setdefault(part, {})[rest] = value.float() if value.is_floating_point() else value
    if config.get("text") is not None:
        text = _stored_text(folder, config["text"], split.get("text", {}))
    parts = {name: split[name] for name in PARTS if name in split}
    evaluator = from_parts(
        parts, str(folder), our_settings(config.get("settings"), folder / "config.json"), text, **options
    )
    if "mean" not in tensors or "std" not in tensors:
        raise CheckpointError(f"{folder / 'weights.safetensors'}: misses the motion statistics 'mean' and 'std'")
    evaluator.set_statistics(tensors["mean"], tensors["std"])
    return evaluator


def _stored_text(folder: Path, config: Any, state: State) -> TextEncoder:
    text = text_from_config(config, folder / CONFIG)
    try:
        text.load_state_dict(dict(state))
    except RuntimeError as error:
        raise CheckpointError(
            f"{folder}: the stored text encoder does not fit: {shown(' '.join(str(error).split()), 120)}"
        ) from error
    return text.requires_grad_(False).eval()


# -- the Hydra target -------------------------------------------------------------------------------------------------
def build(
    checkpoint: str | Path | None = None,
    statistics: str | Path | None = None,
    text: TextEncoder | None = None,
    sentences: TextEncoder | None = None,
    features: int = 263,
    width: int = 256,
    ff: int = 1024,
    layers: int = 6,
    heads: int = 4,
    dropout: float = 0.1,
    unit: bool = True,
    temperature: float = 0.1,
    threshold: float | None = 0.8,
    weights: Mapping[str, float] | None = None,
    variant: str = "default",
) -> TMREvaluator:
    """The ``_target_`` of ``configs/evaluator/tmr.yaml``: a stored evaluator, or an untrained one of the given sizes.

    Args:
        checkpoint: our folder, or the authors' run directory, whose sizes win; ``asset:<folder>`` for a packaged one;
            None = untrained.
        statistics: folder with the authors' ``mean.pt`` and ``std.pt`` where it is not found beside the run directory.
        text: encoder of captions. The authors' weights read a language model: a compact encoder is then replaced by the
            model that their ``config.json`` names.
        sentences: encoder that judges which captions mean the same; None = content words.
        features, width, ff, layers, heads, dropout, unit, temperature, threshold, weights, variant: see
            :class:`TMREvaluator`.

    Raises:
        CheckpointError: ``checkpoint`` is no folder of TMR.
    """
    habits = {
        "sentences": sentences,
        "unit": unit,
        "temperature": temperature,
        "threshold": threshold,
        "weights": weights,
        "variant": variant,
    }
    if checkpoint is None:
        return TMREvaluator(
            features, text, width=width, ff=ff, layers=layers, heads=heads, dropout=dropout, **habits  # type: ignore[arg-type]
        )  # fmt: skip
    folder = resolve(str(checkpoint))
    if is_authors(folder):
        return from_authors(folder, statistics, None if isinstance(text, CompactTextEncoder) else text, **habits)
    if (folder / "config.json").is_file():
        return load_pretrained(folder, text, **habits)
    raise CheckpointError(
        f"{folder}: no TMR there; expected config.json with weights.safetensors (ours) or last_weights/ (the authors')"
    )
