"""HMU's LCR against ours: counts, ratios, choices, new rows, saved files, and the table of codes."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from hmu.checkpoints.safe import load_tensors
from hmu.methods.codebook.ranking import published_choice, usage
from hmu.methods.codebook.rows import joined_lists
from hmu.methods.codebook.table import FACTS, CodeTable
from hmu.methods.upstream import codes as upstream_codes
from tests.parity.case import Case, read_json
from tests.parity.checks import Checks, compare, deviation, exact, nearest, unchecked
from tests.parity.kinds import compares
from tests.parity.lcr_codes import ROWS, World, ranking, spreads
from tests.parity.momask_models import stored as stored_networks
from tests.parity.momask_rvq import tokenizer

LISTS = "--censor_codes_files"
ALPHAS = (1.0, 0.5, 0.7, 0.3, 0.9, 0.8, 0.2, 1.5, 2.0)  # where nothing tells it
DEFAULTS = {"--dest_code_idx": "0", "--alpha": "1", "--layer_prune": "1"}


@compares("lcr", known=(".npz", ".json", ".csv", ".txt"))
def lcr(case: Case) -> Checks:
    """A ``lcr`` case with everything it holds; runs that no JSON describes are told by their arrays."""
    world, runs = World(case), read_json(case.folder / "runs.json")
    if world.forget is not None:
        yield from case.given({"positive": world.forget}, 0.0)
    if world.codes is not None and "codes" in case:
        yield exact("codes", world.codes.transpose(1, 0, 2)[: len(case.raw("codes"))], case.raw("codes"))
    yield from ranking(world)
    yield from spreads(world)
    for name, recorded in (runs or _inferred(world)).items():
        if name == "csv_read_back_types":  # the authors' reader; ours gives text, text, text and whole numbers always
            yield exact(
                name, sorted(recorded.items()), sorted({**dict.fromkeys(FACTS, "str"), "codes_0:0": "int"}.items())
            )
        elif name == "csv_first_names":
            yield exact(name, list(world.table.names[: len(recorded)]) if world.table else recorded, recorded)
        elif name == "collect_codes":
            yield from _collected(world, recorded)
        elif "yaml" in recorded:
            yield from _selected(world, name, recorded)
        elif "args" in recorded:
            yield from _run(world, name, recorded)
        else:
            yield unchecked(f"run '{name}'", "unknown kind")
    if not runs and "collect_codes" in case:
        yield from _collected(world, {})


def _slope(rows: Tensor, noise: Tensor) -> float:
    """How much of ``noise`` is in ``rows``, which share one row otherwise."""
    a, b = (value.double() - value.double().mean(0) for value in (rows, noise))
    return float((a * b).sum() / (b * b).sum()) if len(rows) > 1 else 1.0


def _inferred(world: World) -> dict[str, Any]:
    """What arrays, names and files tell of the runs: lists, noise or none, alpha (``alpha07``), and the target row."""
    runs: dict[str, Any] = {}
    for fit in world.case.find(r"(.+)__new_rows"):
        part = world.case.under(f"{fit[1]}__")
        said = re.search(r"alpha(\d)(\d*)", fit[1])
        alphas = [float(f"{said[1]}.{said[2] or 0}")] if said else ALPHAS
        guesses = [_guessed(world, part, lists, alpha) for lists in _possible(world, part) for alpha in alphas]

        def error(recorded: dict[str, Any], part: Case = part) -> float:
            return deviation(_changed(part, _new_rows(world, part, recorded)), part.raw("new_rows"))

        runs[fit[1]] = nearest(guesses, error) if guesses else {"args": [], "lists": None}
    return runs


def _possible(world: World, part: Case) -> list[list[list[int]]]:
    """The changed codes, or lists of the folder joined with their duplicates, as many as there is noise for."""
    where = part.raw("changed_layer_and_code").tolist()
    changed = [[code for layer, code in where if layer == q] for q in range(1 + max(layer for layer, _ in where))]
    files = sorted(world.case.folder.glob("*.yaml.txt"))
    joined = [joined_lists(list(order), keep_duplicates=True)
              for count in range(2, min(len(files), 3) + 1) for order in permutations(files, count)]  # fmt: skip
    fitting = [lists for lists in [changed, *joined] if [sorted(set(codes)) for codes in lists] == changed]
    noise = {m[1]: len(part.raw(m[0])) for m in part.find(r"noise_layer(\d+)")}
    return [lists for lists in fitting if all(len(lists[int(q)]) == count for q, count in noise.items())]


def _guessed(world: World, part: Case, lists: list[list[int]], alpha: float) -> dict[str, Any]:
    """A run with these lists as ``runs.json`` would tell it; with noise, alpha and the target row follow from it."""
    if "noise_layer0" not in part:
        return {"args": ["--alpha", str(alpha), "--orth"], "lists": lists, "target_code": None}
    codes, book = sorted(set(lists[0])), world.codebooks[0].double()
    last = {code: place for place, code in enumerate(lists[0])}  # of a code that is listed twice the last noise stays
    noise = part["noise_layer0"][[last[code] for code in codes]]
    rows = part["new_rows"][: len(codes)]
    alpha = round(_slope(rows, noise) / float(book.std()), 3) if len(codes) > 1 else alpha
    plain = rows.double() - alpha * book.std() * noise.double()
    target = int((book - plain.mean(0)).norm(dim=1).argmin())
    return {"args": ["--alpha", str(alpha)], "lists": lists, "target_code": target}


# -- runs --------------------------------------------------------------------------------------------------------------
def _options(arguments: Sequence[str]) -> dict[str, Any]:
    """The command line: flags are True, the lists' files a list, everything else text."""
    options: dict[str, Any] = dict(DEFAULTS)
    key = ""
    for item in arguments:
        if item.startswith("--"):
            key = item
            options[key] = [] if key == LISTS else True
        elif key == LISTS:
            options[key].append(item)
        else:
            options[key] = item
    return options


def _lists(world: World, options: Mapping[str, Any]) -> list[list[int]]:
    """What the run lists in each layer."""
    if LISTS in options:
        files = [world.case.folder / f"{Path(name).name}.txt" for name in options[LISTS]]
        return joined_lists(files, keep_duplicates=True)
    assert world.codes is not None
    assert world.forget is not None
    size, layers = len(world.codebooks[0]), range(int(options["--layer_prune"]))
    counts = [usage(world.codes[:, layer], world.forget, size) for layer in layers]
    return [published_choice(layer, int(options["--code_prune"])) for layer in counts]


def _selected(world: World, name: str, recorded: Mapping[str, Any]) -> Checks:
    options = _options(recorded["args"])
    yield exact(f"{name} lists", _lists(world, options), recorded["yaml"])
    path = world.case.folder / f"{options['--run_name']}.yaml.txt"
    if path.is_file():
        yield exact(f"{name} file", yaml.safe_load(path.read_text(encoding="utf-8")), recorded["yaml"])


def _run(world: World, name: str, recorded: Mapping[str, Any]) -> Checks:
    """Lists, destination, new rows, and the saved file if there is one."""
    options, case = _options(recorded["args"]), world.case.under(f"{name}__")
    lists = recorded["lists"] if "lists" in recorded else _lists(world, options)
    if "values" in recorded:
        yield exact(f"{name} removed_codes", lists, recorded["values"]["removed_codes"])
    if "randint_draws" in recorded:
        asked, draws = int(options["--dest_code_idx"]), recorded["randint_draws"]
        yield exact(f"{name} target_code", recorded["target_code"], [asked, *draws][-1])
        if "--orth" not in options:
            yield exact(f"{name} draws", bool(draws), asked in lists[0])
    if lists is None:
        yield unchecked(name, "no runs.json, and no list of codes beside it makes these rows")
        return
    new = _new_rows(world, case, {**recorded, "lists": lists})
    changed = sorted((layer, code) for layer, codes in enumerate(lists) for code in set(codes))
    yield exact(f"{name} changed", sorted(map(tuple, case.raw("changed_layer_and_code").tolist())), changed)
    yield compare(f"{name} new_rows", _changed(case, new), case.raw("new_rows"), ROWS)
    if "file" in recorded:
        yield from _saved(world, name, recorded, new)


def _new_rows(world: World, case: Case, recorded: Mapping[str, Any]) -> list[Tensor]:
    """Codebooks after a run."""
    options, pairs = _options(recorded["args"]), list(zip(world.codebooks, recorded["lists"], strict=False))
    alpha = float(options["--alpha"])
    if "--orth" in options:
        return [upstream_codes.orthogonal(book.double(), codes, alpha) for book, codes in pairs]
    noises = (case[f"noise_layer{layer}"].double() for layer in range(len(pairs)))
    return [upstream_codes.replaced(book.double(), codes, recorded["target_code"], alpha, noise)
            for (book, codes), noise in zip(pairs, noises, strict=True)]  # fmt: skip


def _changed(case: Case, books: Sequence[Tensor]) -> Tensor:
    """The rows that a run changed, in its order."""
    return torch.stack([books[layer][code] for layer, code in case.raw("changed_layer_and_code").tolist()])


def _saved(world: World, name: str, recorded: Mapping[str, Any], new: Sequence[Tensor]) -> Checks:
    """The run's file: its layout, and that base plus our edit is what it holds."""
    edited = world.tar(recorded["file"])
    if edited is None:
        return
    content, original = load_tensors(edited), load_tensors(edited.with_name("base.tar"))["vq_model"]
    yield exact(f"{name} file keys", sorted(content), sorted(recorded["top_level_keys"]))
    facts = {key: content[key] for key in recorded["values"]} | {"split": Path(content["split"]).name}
    yield exact(f"{name} file values", facts, recorded["values"] | {"split": Path(recorded["values"]["split"]).name})
    yield exact(
        f"{name} file types", {key: type(content[key]).__name__ for key in recorded["types"]}, recorded["types"]
    )
    books = {f"quantizer.layers.{layer}.codebook": book for layer, book in enumerate(new)}
    for key, value in content["vq_model"].items():
        yield compare(f"{name} file {key}", books.get(key, original[key]), value, ROWS if key in books else 0.0)
    yield exact(f"{name} other_weights_changed", recorded["other_weights_changed"], [])


# -- the table ---------------------------------------------------------------------------------------------------------
def _collected(world: World, recorded: Mapping[str, Any]) -> Checks:
    """Codes of documented motions by the stored tokenizer, and, where a JSON tells it, the table's header."""
    stored = world.case.raw("collect_codes")
    if recorded:
        codes = np.ascontiguousarray(stored.transpose(0, 2, 1)).astype(np.int16)
        table = CodeTable(tuple(recorded["name"]), tuple(recorded["rep"]), tuple(recorded["text"]), codes)
        yield exact("collect_codes columns", len(table.columns), recorded["n_columns"])
        yield exact("collect_codes head", table.columns[: len(recorded["columns_head"])], recorded["columns_head"])
        yield exact("collect_codes last", table.columns[-1], recorded["last_column"])
        yield exact(
            "collect_codes names", [name.partition("%")[2] for name in recorded["name_list"]], list(table.names)
        )
    for path, model in stored_networks(world.case.folder, tokenizer):
        ours = model.encode(_motions(len(stored), stored.shape[1] * model.unit_length, model.features))
        yield exact(f"collect_codes by {path.name}", ours[..., : stored.shape[2]], stored)


def _motions(count: int, frames: int, features: int) -> Tensor:
    """``20 s sin(0.37 i + crc32("motion<k>") % 1000)``, ``i`` over frames and columns, ``s = 1 / sqrt(columns)``."""
    phase = np.array([zlib.crc32(f"motion{k}".encode()) % 1000 for k in range(count)], dtype=np.float64)
    wave = np.sin(0.37 * np.arange(frames * features, dtype=np.float64) + phase[:, None])
    return torch.from_numpy(20.0 / math.sqrt(features) * wave).float().view(count, frames, features)
