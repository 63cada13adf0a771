"""MoMask's and BAMM's cases at sizes of our own: every network filled by rule, and a shared codebook in training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hmu.backbones.draws import Draws
from hmu.backbones.tokens.encoder import from_authors
from hmu.backbones.tokens.sampling import decode_residual
from hmu.data.batch import length_mask
from tests.authors_names import to_authors
from tests.parity.bamm import BAMM_ROWS
from tests.parity.bamm import fresh as bamm
from tests.parity.case import Case
from tests.parity.fills import Fill, filled
from tests.parity.momask_masked import LENGTH_ROWS, MTRANS_ROWS, fresh_length
from tests.parity.momask_masked import fresh as masked
from tests.parity.momask_models import ENCODER
from tests.parity.momask_residual import RTRANS_ROWS, greedy
from tests.parity.momask_residual import fresh as residual
from tests.parity.momask_rvq import RVQ_ROWS, STEP_ROWS, Step, quiet
from tests.parity.momask_rvq import fresh as rvq
from tests.parity.synthetic import Arrays, Writer, answers, array, manifest, numbers, store, whole

SMALL = {"latent_dim": 16, "n_heads": 2, "n_layers": 1, "ff_size": 24}
SMALL_RVQ = {"nb_code": 20, "code_dim": 8, "num_quantizers": 3, "depth": 1, "width": 12}
TOKENS = 7


def _sizes(system: Path, full: bool, part: str, **given: Any) -> dict[str, Any]:
    """Hyper-parameters, written beside the case where they are not the published ones."""
    if full:
        return dict(ENCODER)
    manifest(system, part, SMALL | given)
    return SMALL | given


def _filled(module: nn.Module, rule: str) -> Any:
    return filled(module, Fill(rule), to_authors, from_authors)


def _rvq(system: Path, full: bool, rule: str) -> Arrays:
    given = {} if full else SMALL_RVQ
    if given:
        manifest(system, "rvq", given | {"vq_norm": "None"})
    net = _filled(rvq(given), rule)
    inputs = {
        "x": numbers(1, 2, 4 * TOKENS, 263),
        "indices": array(net.encode(torch.from_numpy(numbers(1, 2, 28, 263)))),
    }
    inputs["dec_indices"] = whole(2, net.options.codes, 2, TOKENS, net.options.quantizers)
    names = "indices recon encoder_out decoded decoded_first2 commit_loss perplexity loss_total encoder_out_f64"
    outputs = answers(
        inputs, net, {n: r for n, r in RVQ_ROWS.items() if "first" not in n}, names.replace("decoded_first2 ", "")
    )
    return inputs | outputs


def _mtrans(system: Path, full: bool, rule: str) -> Arrays:
    sizes, codes, text = _sizes(system, full, "mtrans", code_dim=8), 512 if full else 20, 512 if full else 6
    net = _filled(masked(sizes | {"num_tokens": codes, "clip_dim": text}), rule)
    inputs = {"tf_ids": whole(3, codes + 1, 2, TOKENS), "cond": numbers(4, 2, text), "m_lens": np.array([TOKENS, 4])}
    return inputs | answers(inputs, net, MTRANS_ROWS, "logits logits_f64 logits_uncond logits_scale2.5")


def _rtrans(shared: bool) -> Callable[[Path, bool, str], Arrays]:
    part = "rtrans" if shared else "rtrans_noshare"

    def arrays_of(system: Path, full: bool, rule: str) -> Arrays:
        layers, codes, width, text = (6, 512, 512, 512) if full else (3, 20, 8, 6)
        sizes = _sizes(system, full, part, num_quantizers=3)
        own = {"num_tokens": codes, "num_quantizers": layers, "code_dim": width, "clip_dim": text}
        net = _filled(residual(sizes | own | {"share_weight": shared}), rule)
        inputs = {"motion_codes": numbers(5, 2, TOKENS, width), "cond": numbers(6, 2, text), "m_lens": np.array([7, 3])}
        real = length_mask(torch.tensor([7, 3]), TOKENS)
        inputs |= {
            "gen_a/motion_ids": np.where(real, whole(7, codes, 2, TOKENS), -1),
            "gen_a/cond": numbers(8, 2, text),
        }
        base, cond = (torch.from_numpy(inputs[f"gen_a/{name}"]) for name in ("motion_ids", "cond"))
        outputs = decode_residual(net, base, cond, real, greedy, scale=2.0, layers=layers - 1, padding=True)
        inputs["gen_a/all_indices"] = array(outputs)
        names = f"q1_logits q2_logits_f64 q1_features q{layers - 1}_logits_scale3 q1_logits_force_mask"
        lent = () if shared else ("motion_codes", "m_lens", "cond")  # the other file's
        arrays = inputs | answers(inputs, net, RTRANS_ROWS, names)
        return {name: value for name, value in arrays.items() if name not in lent}

    return arrays_of


def _length(system: Path, full: bool, rule: str) -> Arrays:
    hidden = (512, 256, 128) if full else (10, 8, 6)
    if not full:
        manifest(system, "length", {"hidden": hidden})
    net = _filled(fresh_length({"input_size": 512 if full else 9, "output_size": 30, "hidden": hidden}), rule)
    inputs = {"text_emb": numbers(9, 3, 512 if full else 9), "labels": np.array([3, 0, 29])}
    return inputs | answers(inputs, net, LENGTH_ROWS, "logits logits_f64 probs argmax loss")


def _bamm(blocks: str) -> Callable[[Path, bool, str], Arrays]:
    part = "bamm_t2mgpt" if blocks == "t2mgpt" else "bamm"

    def arrays_of(system: Path, full: bool, rule: str) -> Arrays:
        codes, text, sizes = (
            512 if full else 20,
            512 if full else 6,
            _sizes(system, full, part, code_dim=8, trans=blocks),
        )
        net = _filled(bamm(sizes | {"trans": blocks, "num_tokens": codes, "clip_dim": text}, 50), rule)
        ids = np.where(np.arange(50) < 30, whole(1, codes, 2, 50), net.pad_id)
        known = np.where(numbers(2, 2, 50) > 0, ids, net.pad_id)
        inputs = {"ids": ids, "cond_idx": known, "cond": numbers(3, 2, text)}
        names = "logits_causal logits_cond_f64 logits_causal_scale4 logits_cond_uncond attend_cond"
        return inputs | answers(inputs, net, BAMM_ROWS, names)

    return arrays_of


def _folder(name: str, **parts: Callable[[Path, bool, str], Arrays]) -> Writer:
    """A folder with a file per network; the last word of its name is the rule."""

    def write(system: Path, full: bool) -> Path:
        folder = system / "heldout" / name
        with torch.no_grad():
            for part, arrays_of in parts.items():
                store(folder, arrays_of(system, full, name.split("_")[-1]), part)
        return folder

    return write


class Recorder(Draws):
    """Draws, and what was drawn under the names of a training case."""

    def __init__(self) -> None:
        super().__init__(torch.Generator().manual_seed(5))
        self.drawn: Arrays = {}

    def _kept(self, kind: str, value: Tensor) -> Tensor:
        self.drawn[f"{kind}{sum(name.startswith(kind) for name in self.drawn)}"] = array(value)
        return value

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Numbers of one layer's choice."""
        return self._kept("uniform_q", super().uniform(shape, like))

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Noise of one tile."""
        return self._kept("tile_normal_", super().normal(shape, like))


def shared_training(system: Path, full: bool) -> Path:
    """Two steps of a tokenizer whose layers share one codebook; the authors' file names it once per layer."""
    given = {} if full else SMALL_RVQ | {"nb_code": 40}
    torch.manual_seed(3)
    net = quiet(rvq(given | {"shared_codebook": True}))
    model = system / "heldout" / "checkpoints" / "HumanML3D" / "rvq_shared" / "model"
    model.mkdir(parents=True)
    state = {name: value for name, value in net.state_dict().items() if not name.endswith(("code_sum", "code_count"))}
    torch.save({"vq_model": state, "ep": 3}, model / "base.tar")
    lines = ["------------ Options -------------", "shared_codebook: True", "vq_norm: None", "name: rvq_shared",
             "-------------- End ----------------"]  # fmt: skip
    (model.parent / "opt.txt").write_text("\n".join(lines) + "\n")
    arrays: Arrays = {}
    for step in range(2):
        inputs, draws = {"x": numbers(step, 2, 32, 263)}, Recorder()
        run = Step(Case(Path(), inputs), net, draws)
        books = {
            f"{name}_q{q}" for name in ("codebook", "code_sum", "code_count") for q in range(net.options.quantizers)
        }
        outputs = inputs | draws.drawn | answers(inputs, run, STEP_ROWS, "recon commit_loss perplexity loss")
        outputs |= answers(inputs, run, STEP_ROWS, " ".join(sorted(books)))
        outputs |= {
            f"grad/{name}": array(run.gradients[name]) for name in ("encoder.model.0.bias", "decoder.model.0.bias")
        }
        arrays |= {f"step{step}/{name}": np.array(value) for name, value in outputs.items()}
    return store(system / "heldout" / "rvq_shared_train", arrays)


MOMASK: dict[str, tuple[Writer, str]] = {
    rule: (
        _folder(f"full_{rule}", rvq=_rvq, mtrans=_mtrans, rtrans=_rtrans(True), rtrans_noshare=_rtrans(False),
                length=_length),
        "rvq:decoded mtrans:logits_f64 rtrans:gen_a/all_indices rtrans_noshare:q1_features length:argmax",
    )
    for rule in ("sine", "hash")
}  # fmt: skip
MOMASK["training"] = (shared_training, "step0/loss step1/codebook_q1 step1/grad/encoder.model.0.bias")
BAMM: dict[str, tuple[Writer, str]] = {
    rule: (
        _folder(f"full_{rule}", bamm=_bamm("official"), bamm_t2mgpt=_bamm("t2mgpt")),
        "bamm:logits_causal bamm_t2mgpt:logits_cond_f64",
    )
    for rule in ("sine", "hash")
}
