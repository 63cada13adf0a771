"""HMU's and the evaluators' cases at sizes of our own: closed forms, codes and networks without stored weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmu.methods.codebook.ranking import best, published_choice, published_ratios, usage
from hmu.methods.upstream import codes as upstream_codes
from tests.parity.fills import Fill, filled
from tests.parity.guo import FULL_ROWS as GUO_ROWS
from tests.parity.guo import SIZES, Encoders, modules_of
from tests.parity.lcr_codes import RATIOS, tie_free
from tests.parity.synthetic import Arrays, Writer, answers, array, numbers, store, whole
from tests.parity.tmr import networks, sized
from tests.parity.tmr_full import FULL_ROWS
from tests.parity.uce_rece import Recipe, group_of

LENGTHS, WORDS = np.array([20, 24, 8]), np.array([22, 9, 4])


def closed_form(system: Path, full: bool) -> Path:
    """Three rounds on two layers that are not stored; technique, scales and rule are to be found out."""
    folder, (out, width) = system / "heldout" / "uce_rece", (384, 512) if full else (10, 24)
    for name, rule, recipe in (
        ("replace_preserve05_sine", "sine", Recipe.recorded({"preserve_scale": 0.5, "technique": "replace"})),
        ("plain_hash", "hash", Recipe.recorded({"preserve_scale": 1.0})),
    ):
        inputs = {f"{side}_emb": numbers(seed, rows, width) for seed, (side, rows) in
                  enumerate((("forget", 2), ("target", 2), ("retain", 4)))}  # fmt: skip
        fill, layers = Fill(rule), dict[str, tuple[torch.Tensor, torch.Tensor | None]]()
        for i in range(2):
            weight, bias = (fill.values(f"{letter}{i}", size) for letter, size in (("W", (out, width)), ("b", (out,))))
            layers[str(i)] = (torch.from_numpy(weight).float(), torch.from_numpy(bias).float())
        tensors = {key: torch.from_numpy(value) for key, value in inputs.items()}
        group = group_of(layers, tensors["forget_emb"], tensors["target_emb"], tensors["retain_emb"])
        for number, (weights, adversary) in enumerate(recipe.rounds(group, 2)):
            outputs = {f"f64_W{layer}_after{number}": weight for layer, weight in weights.items()}
            outputs |= {f"f32_W{layer}_after{number}": weight.float() for layer, weight in weights.items()}
            outputs |= {} if adversary is None else {f"f64_adv_iter{number}": adversary}
            inputs |= {key: array(value) for key, value in outputs.items()}
        store(folder, inputs, name)
    return folder


def codes(system: Path, full: bool) -> Path:
    """Counts, choices and runs on codebooks that are not stored; joined lists that no JSON describes."""
    folder, (size, width) = system / "heldout" / "lcr_hash", (512, 512) if full else (60, 6)
    table = whole(1, size, 2, 50, 9).astype(np.int16)
    forget = np.arange(50) % 3 == 0
    books = [torch.from_numpy(Fill("hash").values(f"quantizer.layers.{q}.codebook", (size, width))).float()
             for q in range(3)]  # fmt: skip
    arrays: Arrays = {"codes": table, "positive": forget}
    arrays["std_per_layer"] = np.array([float(book.std()) for book in books], np.float32)
    for layer in range(2):
        counted, at = usage(table[layer], forget, size), f"L{layer}_"
        arrays |= {f"{at}forget_counts": counted.forget, f"{at}rest_counts": counted.rest}
        for name, ratio in zip(RATIOS, published_ratios(counted), strict=True):
            arrays |= {f"{at}ratio_{name}": ratio, f"{at}top3_by_{name}": np.array(best(ratio, 3)),
                       f"{at}tie_free_up_to_{name}": np.array(tie_free(ratio))}  # fmt: skip
        arrays[f"{at}selected_5"] = np.array(published_choice(counted, 5))
    folder.mkdir(parents=True)
    lists = {"sel_a": [3, 17, 40], "sel_b": [5, 17, 22, 40]}
    for name, listed in lists.items():
        (folder / f"{name}.yaml.txt").write_text(json.dumps([listed]))
    joined = [*lists["sel_b"], *lists["sel_a"]]
    noise, double = torch.from_numpy(numbers(4, len(joined), width)), books[0].double()
    runs = {
        "combined": (joined, upstream_codes.replaced(double, joined, 8, 0.6, noise.double()), noise),
        "combined_orth": (joined, upstream_codes.orthogonal(double, joined, 0.5), None),
        "orth_alpha03": (lists["sel_a"], upstream_codes.orthogonal(double, lists["sel_a"], 0.3), None),
    }
    for tag, (listed, new, drawn) in runs.items():
        where = sorted(set(listed))
        arrays |= {f"{tag}__new_rows": array(new[where].float()),
                   f"{tag}__changed_layer_and_code": np.array([[0, code] for code in where])}  # fmt: skip
        arrays |= {} if drawn is None else {f"{tag}__noise_layer0": array(drawn)}
    return store(folder, arrays)


def guo(system: Path, full: bool) -> Path:
    """The evaluator's three encoders; widths are told as text."""
    small = dict(zip(SIZES, (6, 8, 9, 7, 5, 4, 35), strict=True))
    sizes = {name: value for name, (_, value) in SIZES.items()} | {"dim_pose": 251} if full else small
    parts = modules_of(sizes)
    for part, module in parts.items():
        filled(module, Fill("sine", f"{part}."))
    inputs = {"motions_f16": (40 * numbers(1, 3, 24, sizes["dim_pose"])).astype(np.float16), "lengths": LENGTHS}
    inputs |= {"word_f16": numbers(2, 3, 22, sizes["dim_word"]).astype(np.float16), "cap_lens": WORDS}
    inputs |= {"pos_index": whole(3, 15, 3, 22), "order": np.array([1, 0, 2])}
    inputs |= {"me_in": 10 * numbers(4, 2, 6, sizes["dim_movement_latent"]), "me_lens": np.array([6, 2])}
    inputs["mv_out_first2"] = np.zeros((3, 2, sizes["dim_movement_latent"]))
    names = "co_motion co_text co_motion_callerorder_f64 co_text_callerorder_f64 mv_out_first2 me_out"
    outputs = answers(inputs, Encoders(parts).eval(), GUO_ROWS, names)
    folder = store(system / "heldout" / "guo_kit_full", inputs | outputs)
    (folder / "config.json").write_text(json.dumps({name: f"{size} wide" for name, size in sizes.items()}))
    return folder


def _tmr(system: Path, full: bool, moved: bool) -> Path:
    """TMR's three networks, norms moved by one or not; a weight is listed for checking."""
    size: dict[str, Any] = {"latent_dim": 8, "ff_size": 6, "num_layers": 2, "num_heads": 2}
    if full:
        size = {"latent_dim": 256, "ff_size": 1024, "num_layers": 6, "num_heads": 4}
    widths = {"motion_encoder": 263 if full else 11, "text_encoder": 768 if full else 7}
    widths["motion_decoder"] = widths["motion_encoder"]
    model = {part: size | {"nfeats": width, "dropout": 0.1, "activation": "gelu"} for part, width in widths.items()}
    net = sized(model).eval()
    for part, module in networks(net).items():
        filled(module, Fill("sine", f"{part}.", moved))
    inputs = {"motion_f16": numbers(1, 3, 9, widths["motion_encoder"]).astype(np.float16), "text_len": WORDS % 6 + 1}
    inputs |= {"text_f16": numbers(2, 3, 5, widths["text_encoder"]).astype(np.float16), "motion_len": LENGTHS % 10}
    inputs["decode_z"] = numbers(3, 3, size["latent_dim"])
    names = "motion_enc text_enc motion_enc_f64 decode_out_first2 mu_text sim"
    weight = net.motion_encoder.state_dict()["seqTransEncoder.layers.1.norm1.weight"]
    listed = {"motion_encoder.seqTransEncoder.layers.1.norm1.weight": [float(weight[0]), float(weight[-1])]}
    folder = store(system / "heldout" / "tmr_full", inputs | answers(inputs, net, FULL_ROWS, names))
    (folder / "config.json").write_text(json.dumps({"config": {"model": model}, "check": listed}))
    return folder


HMU: dict[str, tuple[Writer, str]] = {
    "closed_form": (closed_form, "plain_hash:f64_W1_after1 replace_preserve05_sine:f64_adv_iter2"),
    "codes": (codes, "combined__new_rows combined_orth__new_rows orth_alpha03__new_rows L1_forget_counts"),
}
EVALUATORS: dict[str, tuple[Writer, str]] = {
    "guo": (guo, "co_text co_motion_callerorder_f64"),
    "tmr": (lambda system, full: _tmr(system, full, True), "text_enc motion_enc_f64 decode_out_first2"),
    "tmr_not_moved": (lambda system, full: _tmr(system, full, False), "mu_text"),
}
