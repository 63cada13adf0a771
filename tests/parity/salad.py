"""SALAD's networks against the authors' code: VAE, denoiser, training loss, full-size manifests."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.backbones.salad import objectives
from hmu.backbones.salad.denoiser import Block, Denoiser
from hmu.backbones.salad.diffusion import Diffusion
from hmu.backbones.salad.model import Salad
from hmu.backbones.salad.options import DenoiserOptions, VaeOptions
from hmu.backbones.salad.topology import Topology
from hmu.backbones.salad.vae import Vae, kl_divergence, sample_posterior
from tests.parity.attention import AttentionMaps, watched
from tests.parity.case import Case, Table, once
from tests.parity.checks import Checks, compare
from tests.parity.kinds import compares
from tests.parity.manifests import MANIFEST, manifest_checks
from tests.parity.salad_models import DENOISER, DENOISER_TABLES, NETWORK, frames_kept, model_for, prompts
from tests.published import options

KNOWN = (".npz", MANIFEST, "case.json")
MAPS = ("skel", "temp", "cross")


# -- VAE ---------------------------------------------------------------------------------------------------------------
@once
def _encoded(case: Case, model: Salad, at: str) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, log-variance and the latent sampled with the stored noise."""
    mean, logvar = model.vae.encode(case[f"{at}x"])
    eps = case.get(f"{at}eps")
    return mean, logvar, mean if eps is None else sample_posterior(mean, logvar, eps)


def _stage(case: Case, model: Salad, coder: str, number: str) -> Tensor:
    net = model.vae.conv_enc if coder == "enc" else model.vae.conv_dec
    x = model.vae.motion_enc(case["x"]) if coder == "enc" else _encoded(case, model, "")[2]
    with watched({"stage": list(net.layers[int(number)].children())[-1]}) as calls:
        net(x)
    return calls["stage"][1]


def _vae_term(case: Case, model: Salad, name: str) -> Tensor:
    motion = case["x"][:, : case["x"].shape[1] // model.unit_length * model.unit_length]
    return objectives.vae_terms(model.vae, motion, None, case.get("eps"))[name or "loss"]


VAE_ROWS: Table = {
    "joint_tokens": lambda case, model: model.vae.motion_enc(case["x"]),
    r"(enc|dec)_stage(\d+)": _stage,
    "(odd_|)mu": lambda case, model, at: _encoded(case, model, at)[0],
    "(odd_|)logvar": lambda case, model, at: _encoded(case, model, at)[1],
    "(odd_|)z": lambda case, model, at: _encoded(case, model, at)[2],
    "(odd_|)recon": lambda case, model, at: model.vae.decode(_encoded(case, model, at)[2]),
    "(odd_|)recon_mu": lambda case, model, at: model.vae.decode(_encoded(case, model, at)[0]),
    "loss_kl": lambda case, model: kl_divergence(*_encoded(case, model, "")[:2]).mean(),
    "train_loss_?(|recon|vel|pos|kl)": _vae_term,
}


@compares("vae", known=KNOWN)
def vae(case: Case) -> Checks:
    """Encoder, decoder and training loss, in single and double precision."""
    model = model_for(case, lambda model: case.off(model, VAE_ROWS, "mu"), "width", "text", vae_only=True)
    yield from case.table(model, VAE_ROWS, NETWORK)
    yield from manifest_checks(case, lambda numbers: Vae(Topology.of(model.features), options(VaeOptions, **numbers)))


# -- denoiser ----------------------------------------------------------------------------------------------------------
def _denoised(
    case: Case,
    model: Salad,
    index: str = "text_index",
    masked: bool = True,
    time: Tensor | None = None,
    maps: AttentionMaps | None = None,
) -> Tensor:
    """The network's answer; ``maps`` record its attention, or force some in."""
    texts, mask = prompts(case, index), case.get("len_mask") if masked else None
    inputs = (case["noisy_latent"], case["timesteps"] if time is None else time)
    with nullcontext() if maps is None else maps.watching(model.denoiser):
        return model.denoiser(*inputs, texts.tokens, texts.mask, mask)


@once
def _traced(case: Case, model: Salad) -> dict[str, Any]:
    """The embedded time, the projected latent, and what every layer hands on."""
    net, blocks = model.denoiser, list[Tensor]()

    def noting(block: Block, *inputs: Any) -> Tensor:
        blocks.append(Block.attend_text(block, *inputs))
        return blocks[-1]

    for block in net.transformer.blocks():
        block.__dict__["attend_text"] = partial(noting, block)
    with watched({"time": net.timestep_emb, "input": net.input_process}) as calls:
        _denoised(case, model)
    for block in net.transformer.blocks():
        del block.__dict__["attend_text"]
    return {**{name: result for name, (_, result) in calls.items()}, "blocks": torch.stack(blocks)}


@once
def _maps(case: Case, model: Salad, index: str = "text_index") -> AttentionMaps:
    maps = AttentionMaps()
    _denoised(case, model, index, maps=maps)
    return maps


def _forced(case: Case, model: Salad, which: str) -> Tensor:
    """The answer with the attention maps of another prompt's run forced in."""
    source = _maps(case, model, "text_index_src")
    kinds = MAPS if which == "all" else (which,)
    return _denoised(case, model, maps=AttentionMaps({kind: source[kind] for kind in kinds}))


DENOISER_ROWS: Table = {
    "pred": _denoised,
    "pred_nomask": lambda case, model: _denoised(case, model, masked=False),
    "pred_scalar_t": lambda case, model: _denoised(case, model, time=case["scalar_timestep"]),
    "pred_fixed_(all|skel|temp|cross)": _forced,
    "timestep_emb": lambda case, model: _traced(case, model)["time"],
    "input_proj": lambda case, model: _traced(case, model)["input"],
    "block_out": lambda case, model: _traced(case, model)["blocks"],
    "word_proj": lambda case, model: model.denoiser.word_emb(prompts(case, "text_index").tokens),
    "attn_(skel|temp|cross)": lambda case, model, kind: _maps(case, model)[kind],
}


def _published(numbers: dict[str, Any]) -> Denoiser:
    """A denoiser of a manifest's sizes."""
    sizes = {key: numbers[key] for key in (*DENOISER, "dropout", "max_positions")}
    time = numbers.get("timestep_frequency_dim", DENOISER_TABLES["time_features"])
    widths = (numbers["vae_latent_dim"], numbers["clip_dim"])
    return Denoiser(*widths, options(DenoiserOptions, **sizes, time_features=time))


@compares("denoiser", known=KNOWN)
def denoiser(case: Case) -> Checks:
    """Answers, intermediate tensors, attention maps recorded and forced in."""
    model = model_for(case, lambda model: case.off(model, DENOISER_ROWS, "pred"), "features", "stages")
    yield from case.table(model, DENOISER_ROWS, NETWORK)
    yield compare("pred, maps kept", _denoised(case, model, maps=AttentionMaps()), case.raw("pred"), NETWORK)
    yield from manifest_checks(case, _published)


# -- training loss -----------------------------------------------------------------------------------------------------
class LossRun:
    """The denoiser's training state from a stored motion and stored draws."""

    def __init__(self, case: Case, model: Salad) -> None:
        index = case.raw("text_index")
        self.texts = np.where(case.raw("drop_uniform") < 0.1, 0, index) if "drop_uniform" in case else index
        self.latent = sample_posterior(*model.vae.encode(case["motion"]), case["vae_eps"])
        self.noise, time = case["noise"], case["timesteps"]
        self.state = model.noised(self.latent, self.noise, time, frames_kept(case, model, self.latent))
        texts = prompts(case, self.texts)
        self.answer = model.denoiser(self.state.inputs, time, texts.tokens, texts.mask, self.state.valid)

    def loss(self, model: Salad, kind: Any) -> Tensor:
        """The loss if the network predicted ``kind``."""
        keep = self.state.valid[:, :, None, None]
        diffusion = Diffusion(replace(model.diffusion.options, prediction_type=kind))
        target = diffusion.target(self.latent * keep, self.noise * keep, self.state.time)
        return model.distance(self.answer * keep, target, self.state).mean()


_loss_run = once(LossRun)
LOSS_ROWS: Table = {
    "text_used": lambda case, model: _loss_run(case, model).texts,
    "latent_unmasked": lambda case, model: _loss_run(case, model).latent,
    "noisy_latent": lambda case, model: _loss_run(case, model).state.inputs,
    "pred_raw": lambda case, model: _loss_run(case, model).answer,
    "loss_(v_prediction|epsilon|sample)": lambda case, model, kind: _loss_run(case, model).loss(model, kind),
}


@compares("denoiser_loss", known=KNOWN)
def denoiser_loss(case: Case) -> Checks:
    """The training loss from a motion: encode, noise, mask, drop prompts, predict, compare."""
    model = model_for(case, lambda model: case.off(model, LOSS_ROWS, "pred_raw"))
    yield from case.table(model, LOSS_ROWS, NETWORK)
