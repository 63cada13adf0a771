"""HMU's LCR against ours: counts, ratios, choices, new rows, saved files, and the table of codes."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from hmu.backbones.tokens.authors import load_rvq
from hmu.checkpoints.safe import load_tensors
from hmu.errors import CheckpointError
from hmu.methods.codebook.ranking import Scores, best, published_choice, published_ratios, usage
from hmu.methods.codebook.rows import joined_lists
from hmu.methods.codebook.table import FACTS, CodeTable
from hmu.methods.upstream import codes as upstream_codes
from tests.parity.checks import Check, compare, exact
from tests.parity.salad_files import Arrays

ROWS = 2e-6  # float32 of the authors against float64
RATIOS = ("raw", "normalised")
FLAGS = {"--orth", "--just_select_codes"}
LISTS = "--censor_codes_files"
DEFAULTS = {"--dest_code_idx": "0", "--alpha": "1", "--layer_prune": "1"}


@dataclass(frozen=True)
class Case:
    """A case's files, read."""

    folder: Path
    arrays: Arrays
    table: CodeTable
    forget: np.ndarray
    codebooks: list[Tensor]

    def tar(self, name: str) -> Path | None:
        """A tokenizer's file beside the case, if it was stored."""
        return next(iter(sorted((self.folder.parent / "checkpoints").glob(f"*/*/model/{name}"))), None)


def lcr(folder: Path) -> Iterator[Check]:
    """A ``lcr`` case with everything it holds."""
    runs = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    known = {"codes.csv", "forget_ids.txt", "vectors.npz", "runs.json", "manifest_full.json"}
    for path in sorted(folder.iterdir()):
        if path.name not in known and not path.name.endswith(".yaml.txt"):
            yield Check(f"file '{path.name}' of unknown kind", math.inf, 0.0)
    table = CodeTable.load(folder / "codes.csv")
    names = set((folder / "forget_ids.txt").read_text(encoding="utf-8").split())
    case = Case(folder, Arrays(folder / "vectors.npz"), table, table.rows_of(names), _codebooks(folder))
    yield exact("positive", case.forget, case.arrays["positive"])
    yield exact("codes", table.codes.transpose(1, 0, 2)[: len(case.arrays["codes"])], case.arrays["codes"])
    yield from _ranking(case)
    yield from _deviations(case)
    for name, told in runs.items():
        if name == "csv_read_back_types":  # the authors' reader; ours gives text, text, text and whole numbers always
            yield exact(name, sorted(told.items()), sorted({**dict.fromkeys(FACTS, "str"), "codes_0:0": "int"}.items()))
        elif name == "csv_first_names":
            yield exact(name, list(table.names[: len(told)]), told)
        elif name == "collect_codes":
            yield from _collected(case, told)
        elif "yaml" in told:
            yield from _selected(case, name, told)
        elif "file" in told:
            yield from _run(case, name, told)
        else:
            yield Check(f"run '{name}' of unknown kind", math.inf, 0.0)
    yield from case.arrays.unread()


def _codebooks(folder: Path) -> list[Tensor]:
    """Of every layer as far as they are stored: the base file's, else the case's own."""
    paths = sorted((folder.parent / "checkpoints").glob("*/*/model/base.tar"))
    for content in map(load_tensors, paths):
        state = content.get("vq_model", content.get("net"))
        if state is not None:
            layers = sorted(
                (key for key in state if key.endswith(".codebook")), key=lambda key: int(key.split(".")[-2])
            )
            return [state[key] for key in layers]
    with np.load(folder / "vectors.npz") as arrays:
        return [torch.from_numpy(book) for book in arrays["codebooks_before"]]


def _ranking(case: Case) -> Iterator[Check]:
    """Counts, both ratios, and the best by each; where ratios are equal any of their codes is as good."""
    a, size = case.arrays, len(case.codebooks[0])
    for layer in range(case.table.layers):
        if f"L{layer}_forget_counts" not in a:
            continue
        found = usage(case.table.codes[:, layer], case.forget, size)
        yield exact(f"L{layer}_forget_counts", found.forget, a[f"L{layer}_forget_counts"])
        yield exact(f"L{layer}_rest_counts", found.rest, a[f"L{layer}_rest_counts"])
        ratios = dict(zip(RATIOS, published_ratios(found), strict=True))
        free = {}
        for name, ratio in ratios.items():
            yield compare(f"L{layer}_ratio_{name}", ratio, a[f"L{layer}_ratio_{name}"], 1e-12)
            free[name] = int(a[f"L{layer}_tie_free_up_to_{name}"])
            yield exact(f"L{layer}_tie_free_up_to_{name}", _tie_free(ratio), free[name])
            for key in (key for key in a if key.startswith(f"L{layer}_top") and key.endswith(f"_by_{name}")):
                yield _same_best(key, ratio, a[key], free[name])
        for key in (key for key in a if key.startswith(f"L{layer}_selected_")):
            k = int(key.rpartition("_")[2])
            if k <= min(free.values()):
                yield exact(key, published_choice(found, k), a[key].tolist())
            else:
                yield _same_best(key, ratios["raw"], a[key], min(free.values()))


def _tie_free(ratio: Scores) -> int:
    """How many of the best have no equal in the ranking."""
    ordered = np.sort(ratio)[::-1]
    equal = np.flatnonzero(ordered[:-1] == ordered[1:])
    return int(equal[0]) if len(equal) else len(ordered)


def _same_best(name: str, ratio: Scores, theirs: np.ndarray, free: int) -> Check:
    """The same codes while no two are equal, then codes of the same ratios."""
    ours = best(ratio, len(theirs))
    certain = set(ours[:free]) <= set(theirs.tolist())
    alike = np.array_equal(np.sort(ratio[ours]), np.sort(ratio[theirs]))
    return exact(name, certain and alike, True)


def _deviations(case: Case) -> Iterator[Check]:
    stored = case.arrays["codebooks_before"]
    for layer, book in enumerate(case.codebooks):
        if layer < len(stored):
            yield compare(f"codebooks_before {layer}", book, stored[layer], 0.0)
        if layer < len(case.arrays["std_per_layer"]):
            yield compare(f"std_per_layer {layer}", book.double().std(), case.arrays["std_per_layer"][layer], ROWS)


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


def _lists(case: Case, options: Mapping[str, Any]) -> list[list[int]]:
    """What the run lists in each layer."""
    if LISTS in options:
        files = [case.folder / f"{Path(name).name}.txt" for name in options[LISTS]]
        return joined_lists(files, keep_duplicates=True)
    size, layers = len(case.codebooks[0]), range(int(options["--layer_prune"]))
    found = [usage(case.table.codes[:, layer], case.forget, size) for layer in layers]
    return [published_choice(layer, int(options["--code_prune"])) for layer in found]


def _selected(case: Case, name: str, told: Mapping[str, Any]) -> Iterator[Check]:
    options = _options(told["args"])
    yield exact(f"{name} lists", _lists(case, options), told["yaml"])
    path = case.folder / f"{options['--run_name']}.yaml.txt"
    if path.is_file():
        yield exact(f"{name} file", yaml.safe_load(path.read_text(encoding="utf-8")), told["yaml"])


def _run(case: Case, name: str, told: Mapping[str, Any]) -> Iterator[Check]:
    """Lists, destination, new rows, and the saved file if there is one."""
    options, values = _options(told["args"]), told["values"]
    lists, alpha, orth = _lists(case, options), float(options["--alpha"]), bool(options.get("--orth", False))
    yield exact(f"{name} removed_codes", lists, values["removed_codes"])
    asked, draws = int(options["--dest_code_idx"]), told["randint_draws"]
    yield exact(f"{name} target_code", told["target_code"], [asked, *draws][-1])
    if not orth:
        yield exact(f"{name} draws", bool(draws), asked in lists[0])
    new = []
    for layer, (book, codes) in enumerate(zip(case.codebooks, lists, strict=False)):
        if orth:
            new.append(upstream_codes.orthogonal(book.double(), codes, alpha))
        else:
            noise = case.arrays.tensor(f"{name}__noise_layer{layer}", torch.float64)
            new.append(upstream_codes.replaced(book.double(), codes, told["target_code"], alpha, noise))
    where = case.arrays[f"{name}__changed_layer_and_code"]
    changed = sorted((layer, code) for layer, codes in enumerate(lists) for code in set(codes))
    yield exact(f"{name} changed", sorted(map(tuple, where.tolist())), changed)
    rows = torch.stack([new[layer][code] for layer, code in where.tolist()])
    yield compare(f"{name} new_rows", rows, case.arrays[f"{name}__new_rows"], ROWS)
    yield from _saved(case, name, told, new)


def _saved(case: Case, name: str, told: Mapping[str, Any], new: Sequence[Tensor]) -> Iterator[Check]:
    """The run's file: its layout, and that base plus our edit is what it holds."""
    edited = case.tar(told["file"])
    if edited is None:
        return
    content, original = load_tensors(edited), load_tensors(edited.with_name("base.tar"))["vq_model"]
    yield exact(f"{name} file keys", sorted(content), sorted(told["top_level_keys"]))
    facts = {key: content[key] for key in told["values"]} | {"split": Path(content["split"]).name}
    yield exact(f"{name} file values", facts, told["values"] | {"split": Path(told["values"]["split"]).name})
    yield exact(f"{name} file types", {key: type(content[key]).__name__ for key in told["types"]}, told["types"])
    books = {f"quantizer.layers.{layer}.codebook": book for layer, book in enumerate(new)}
    for key, value in content["vq_model"].items():
        yield compare(f"{name} file {key}", books.get(key, original[key]), value, ROWS if key in books else 0.0)
    yield exact(f"{name} other_weights_changed", told["other_weights_changed"], [])


# -- the table ---------------------------------------------------------------------------------------------------------
def _collected(case: Case, told: Mapping[str, Any]) -> Iterator[Check]:
    """Codes of documented motions by the stored tokenizer, and the table's header."""
    stored = case.arrays["collect_codes"]
    codes = np.ascontiguousarray(stored.transpose(0, 2, 1)).astype(np.int16)
    table = CodeTable(tuple(told["name"]), tuple(told["rep"]), tuple(told["text"]), codes)
    yield exact("collect_codes columns", len(table.columns), told["n_columns"])
    yield exact("collect_codes head", table.columns[: len(told["columns_head"])], told["columns_head"])
    yield exact("collect_codes last", table.columns[-1], told["last_column"])
    yield exact("collect_codes names", [name.partition("%")[2] for name in told["name_list"]], list(table.names))
    for path in sorted((case.folder.parent / "checkpoints").glob("*/*/opt.txt")):
        try:
            model = load_rvq(path.parent, "base.tar")[0].eval()
        except CheckpointError:
            continue  # another part's folder
        with torch.no_grad():
            ours = model.encode(_motions(len(stored), stored.shape[1] * model.unit_length, model.features))
        yield exact(f"collect_codes by {path.parent.name}", ours[..., : stored.shape[2]].numpy(), stored)


def _motions(count: int, frames: int, features: int) -> Tensor:
    """``20 s sin(0.37 i + crc32("motion<k>") % 1000)``, ``i`` over frames and columns, ``s = 1 / sqrt(columns)``."""
    phase = np.array([zlib.crc32(f"motion{k}".encode()) % 1000 for k in range(count)], dtype=np.float64)
    wave = np.sin(0.37 * np.arange(frames * features, dtype=np.float64) + phase[:, None])
    return torch.from_numpy(20.0 / math.sqrt(features) * wave).float().view(count, frames, features)


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"lcr": lcr}
