"""Training objectives of the HumanML3D evaluator as pure functions (Guo et al., CVPR 2022, section 5 and its code)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW = 24  # frames of the stage ``decomp``


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance of rows with the published epsilon inside: ``sqrt(sum (a - b + 1e-6)^2)``, ``(batch,)``."""
    return F.pairwise_distance(a, b, eps=1e-6)


def contrastive(a: Tensor, b: Tensor, apart: bool, margin: float) -> Tensor:
    """Mean ``d^2`` for pairs that belong together, mean ``max(0, margin - d)^2`` for pairs ``apart``; scalar."""
    d = distance(a, b)
    return (margin - d).clamp_min(0).square().mean() if apart else d.square().mean()


def match_terms(text: Tensor, motion: Tensor, shift: int, margin: float) -> dict[str, Tensor]:
    """Contrastive loss of row-aligned embeddings ``(batch, width)``; negatives are motions ``shift`` rows on.

    ``shift`` 0 makes the positives their own negatives: an error of the published training, which draws it with
    probability ``1 / (batch - 1)``. Returns ``positive``, ``negative`` and their sum ``loss``.
    """
    positive = contrastive(text, motion, False, margin)
    negative = contrastive(text, motion.roll(-shift, 0), True, margin)
    return {"positive": positive, "negative": negative, "loss": positive + negative}


def match_all_terms(text: Tensor, motion: Tensor, margin: float) -> dict[str, Tensor]:
    """As :func:`match_terms` on ``(batch, width)``, every wrong pair a negative (mean over all shifts but 0)."""
    positive = contrastive(text, motion, False, margin)
    d = distance(text[:, None], motion[None])
    wrong = ~torch.eye(len(text), dtype=torch.bool, device=text.device)
    hinge = (margin - d).clamp_min(0).square()
    negative = hinge[wrong].mean() if len(text) > 1 else hinge.sum() * 0
    return {"positive": positive, "negative": negative, "loss": positive + negative}


def movement_terms(
    motion: Tensor, rebuilt: Tensor, latents: Tensor, sparsity: float = 1e-3, smooth: float = 1e-3
) -> dict[str, Tensor]:
    """Movement auto-encoder loss: L1 reconstruction, latent sparsity, latent smoothness over time.

    ``motion`` and ``rebuilt`` ``(batch, frames, features)`` normalised; ``latents`` ``(batch, frames // 4, latent)``.
    """
    reconstruction = F.l1_loss(rebuilt, motion)
    sparse = latents.abs().mean()
    steps = F.l1_loss(latents[:, 1:], latents[:, :-1]) if latents.shape[1] > 1 else latents.sum() * 0
    loss = reconstruction + sparsity * sparse + smooth * steps
    return {"reconstruction": reconstruction, "sparsity": sparse, "smoothness": steps, "loss": loss}


def random_windows(motion: Tensor, lengths: Tensor, window: int, generator: torch.Generator | None) -> Tensor:
    """One random window per clip, ``(batch, window, features)``; every start is equally likely, the last included.

    Clips shorter than ``window`` give their whole length followed by what the padding holds.
    """
    if motion.shape[1] < window:
        motion = F.pad(motion, (0, 0, 0, window - motion.shape[1]))
    starts = (lengths - window).clamp_min(0) + 1
    device = motion.device if generator is None else generator.device
    draw = torch.rand(len(motion), generator=generator, device=device).to(motion.device)
    first = (draw * starts).long().clamp(max=starts - 1)
    index = first[:, None] + torch.arange(window, device=motion.device)
    return motion.gather(1, index[..., None].expand(-1, -1, motion.shape[2]))
