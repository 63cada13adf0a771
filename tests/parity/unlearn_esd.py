"""The unlearning fork's erasing loss, the published formula, and an early commit's loss, against ours."""

from __future__ import annotations

import numpy as np
import torch

from hmu.backbones.base import State
from hmu.backbones.salad.model import Salad
from hmu.data.batch import length_mask
from hmu.methods.teacher import erase_target, predict_jointly
from hmu.methods.upstream import salad_fork as upstream
from tests.parity.case import Case, Table
from tests.parity.checks import Checks, deviation, nearest
from tests.parity.kinds import compares
from tests.parity.salad_models import LATEST, NETWORK, fits, model_for, prompts, stored_models
from tests.parity.unlearn import SIDES, latent


class Erasing:
    """The fork's erasing loss: the trained copy, the frozen base, and their answers on the stored states."""

    def __init__(self, case: Case, base: Salad, student: Salad) -> None:
        self.base, self.student = base, student
        self.texts = {side: prompts(case, case.raw(f"{side}_text_index")) for side in SIDES}
        self.null = prompts(case, np.zeros_like(case.raw("forget_text_index")))
        lengths = {side: case[f"{side}_m_lens"] for side in SIDES}
        stored = {s: [case[f"{s}_{name}"] for name in ("latent", "noise", "t")] for s in SIDES}
        self.noisy, self.kept = (upstream.noised(base.diffusion, *stored[s]) for s in ("forget", "retain"))
        self.concept = upstream.masked_output(student, self.noisy, lengths["forget"], self.texts["forget"])
        self.frozen = upstream.masked_output(base, self.noisy, lengths["forget"], self.texts["forget"])
        self.empty = upstream.masked_output(base, self.noisy, lengths["forget"], self.null)
        self.retained = upstream.masked_output(student, self.kept, lengths["retain"], self.texts["retain"])
        pair = (self.retained, stored["retain"][1])
        self.terms = upstream.neutralise(self.concept, self.empty, pair, case.number("preservation_weight", 0.1))

    def formula(self, case: Case, space: str) -> list[float]:
        """The published formula for every eta: over everything, padding zeroed as ours does, or in noise space."""
        concept, frozen, empty, etas = self.concept, self.frozen, self.empty, case.raw("etas").tolist()
        if space == "_masked_zeroed":
            valid = length_mask(self.base.latent_lengths(case["forget_m_lens"]), self.noisy.inputs.shape[1])
            state = State(self.noisy.inputs, self.noisy.time, self.noisy.target, valid)
            empty, frozen = predict_jointly(self.base, [(state, self.null), (state, self.texts["forget"])])
            concept = self.student.predict(state, self.texts["forget"])
            targets = [erase_target(empty, frozen, empty, eta) for eta in etas]
            return [float(self.student.distance(concept, target, state).mean()) for target in targets]
        if space == "_eps_space":
            inputs, time = self.noisy.inputs, self.noisy.time
            concept, frozen, empty = (self.base.diffusion.to_noise(x, inputs, time) for x in (concept, frozen, empty))
        return [float(upstream.square(concept, erase_target(empty, frozen, empty, eta))) for eta in etas]

    def early_commit(self, case: Case) -> list[float]:
        """Commit 316a981: pure noise of one joint token, one prompt for all, both sides from the trained model.

        ``||(1 + eta) (out(c) - out(""))||^2``, of which only the left side has a gradient.
        """
        noise, lengths = case["old_noise"], self.student.latent_lengths(case["forget_m_lens"])
        state = State(noise, case["forget_t"], noise, length_mask(lengths, noise.shape[1]))
        rows = [prompts(case, np.full(len(noise), row)) for row in (int(case.raw("old_concept_index")), 0)]
        concept, null = (self.student.predict(state, row) for row in rows)
        targets = [null - eta * (concept - null) for eta in case.raw("etas").tolist()]
        return [float(upstream.square(concept, target)) for target in targets]


ESD_ROWS: Table = {
    "(retain|forget)_latent": lambda case, run, side: latent(case, run.base, side),
    "x_t": lambda case, run: run.noisy.inputs,
    "pred_trainable_concept": lambda case, run: run.concept,
    "pred_frozen_concept": lambda case, run: run.frozen,
    "pred_frozen_null": lambda case, run: run.empty,
    "preserve_pred": lambda case, run: run.retained,
    "head_loss_total": lambda case, run: run.terms["loss"],
    "head_loss_(erase|preserve)": lambda case, run, which: run.terms[which],
    "preserve_loss_vs_target": lambda case, run: upstream.square(run.retained, run.kept.target),
    "formula_loss(|_masked_zeroed|_eps_space)": lambda case, run, space: run.formula(case, space),
    "old_loss_316a981": lambda case, run: run.early_commit(case),
}


@compares("unlearn_esd")
def unlearn_esd(case: Case) -> Checks:
    """The fork's erasing loss as it runs, the published formula with every stored eta, and an early commit's loss."""
    texts, lengths, x = prompts(case, "forget_text_index"), case["forget_m_lens"], case["x_t"]
    state = State(x, case["forget_t"], x, torch.ones(x.shape[:2], dtype=torch.bool))

    def error(model: Salad, name: str) -> float:
        if name not in case:  # the first model is taken; the losses say whether it is the one
            return 0.0
        return deviation(upstream.masked_output(model, state, lengths, texts), case.raw(name))

    base = model_for(case, lambda model: error(model, "pred_frozen_concept"))
    edits = [model for model in stored_models(case.folder, LATEST, only_edits=True) if fits(model, case)]
    student = nearest(edits, lambda model: error(model, "pred_trainable_concept"), f"edited denoiser (model/{LATEST})")
    yield from case.rows(Erasing(case, base, student), ESD_ROWS, NETWORK)
