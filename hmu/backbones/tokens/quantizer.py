"""Residual vector quantisation with codebooks that follow running averages (van den Oord et al. 2017; MoMask sec. 3.1).

Buffer names are the checkpoints' (``layers.<q>.codebook``). Looking a motion up never changes a codebook; only
:meth:`ResidualQuantizer.forward` in training mode does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.draws import Draws, gumbel
from hmu.backbones.tokens.options import RvqOptions
from hmu.processes import group

TILE_NOISE = 0.01  # times 1 / sqrt(width): keeps copies of one latent apart


def nearest(x: Tensor, codebook: Tensor) -> Tensor:
    """Index of the nearest code of every row of ``x`` ``(rows, width)``, by Euclidean distance: ``(rows,)``."""
    return torch.addmm(codebook.square().sum(1)[None], x, codebook.t(), alpha=-2).argmin(1)


class Codebook(nn.Module):
    """One layer's codes, their running usage, and optional noise for codes that an edit has replaced.

    Attributes:
        codebook: ``(codes, width)``; all zero until the first training batch or a checkpoint fills it.
        code_sum, code_count: running averages of the latents that fell on each code, ``(codes, width)``, ``(codes,)``.
            All zero = unknown; then the first training step derives them from the codebook, so that fine-tuning a
            loaded model does not wipe its codes.
        code_noise: standard deviation ``(codes,)`` of noise added when a code is decoded; not stored.
    """

    codebook: Tensor
    code_sum: Tensor
    code_count: Tensor
    code_noise: Tensor

    def __init__(self, options: RvqOptions, variant: str) -> None:
        super().__init__()
        self.options, self.upstream = options, variant == "upstream"
        shape = (options.codes, options.code_dim)
        self.register_buffer("codebook", torch.zeros(shape))
        self.register_buffer("code_sum", torch.zeros(shape))
        self.register_buffer("code_count", torch.zeros(options.codes))
        self.register_buffer("code_noise", torch.zeros(options.codes), persistent=False)

    def lookup(self, ids: Tensor) -> Tensor:
        """Codes of ``ids``, any shape ``(...)`` -> ``(..., width)``; -1 is the zero code."""
        return F.embedding(ids.clamp_min(0), self.codebook) * (ids >= 0)[..., None]

    def pick(self, x: Tensor, temperature: float, draws: Draws) -> Tensor:
        """Training's choice of codes for ``x`` ``(rows, width)``: nearest, blurred by Gumbel noise."""
        if temperature <= 0:
            return nearest(x, self.codebook)
        distance = x.square().sum(1, keepdim=True) - 2 * x @ self.codebook.t() + self.codebook.square().sum(1)[None]
        noise = gumbel(draws.uniform((len(x), len(self.codebook)), x))
        return (noise - distance / temperature).argmax(1)

    @torch.no_grad()
    def start(self, x: Tensor, draws: Draws) -> None:
        """Before a step on ``x`` ``(rows, width)``: codes where there are none, counts where they are unknown."""
        if bool(self.code_count.any()):
            return
        if self.upstream or not bool(self.codebook.any()):
            self.codebook.copy_(self._replacements(x, draws))
        self.code_count.fill_(1.0 if self.upstream else self._fresh_count(len(x)))
        self.code_sum.copy_(self.codebook * self.code_count[:, None])

    def _fresh_count(self, rows: int) -> float:
        """The usage a new code is credited with: the average one, and enough to live for some steps."""
        return max(rows / self.options.codes, 2 * self.options.reset_below)

    def _replacements(self, x: Tensor, draws: Draws) -> Tensor:
        """Latents of the batch ``(codes, width)``: random ones, or (authors) the first in order."""
        rows = self._draw_rows(x, draws).contiguous()
        if group()[1] > 1:
            torch.distributed.broadcast(rows, 0)
        return rows

    def _draw_rows(self, x: Tensor, draws: Draws) -> Tensor:
        codes, width = self.codebook.shape
        std = TILE_NOISE / width**0.5
        if self.upstream:
            if len(x) < codes:
                x = x.repeat(-(-codes // len(x)), 1)
                x = x + draws.normal(tuple(x.shape), x) * std
            return x[:codes]
        if len(x) >= codes:
            return x[draws.order(len(x), x.device)[:codes]]
        return x[draws.integers(len(x), (codes,), x.device)] + draws.normal((codes, width), x) * std

    @torch.no_grad()
    def update(self, x: Tensor, ids: Tensor, draws: Draws) -> None:
        """Move the codes towards the latents ``x`` ``(rows, width)`` that fell on them, and replace unused ones."""
        total, count = torch.zeros_like(self.code_sum), torch.zeros_like(self.code_count)
        total.index_add_(0, ids, x)
        count.index_add_(0, ids, torch.ones_like(x[:, 0]))
        spare, rows = self._replacements(x, draws), len(x)
        if group()[1] > 1:
            rows *= group()[1]
            torch.distributed.all_reduce(total)
            torch.distributed.all_reduce(count)
        decay = self.options.decay
        self.code_sum.mul_(decay).add_(total, alpha=1 - decay)
        self.code_count.mul_(decay).add_(count, alpha=1 - decay)
        used = self.code_count >= self.options.reset_below
        if not self.upstream:  # else the old place of a dead code pulls its replacement back
            self.code_count.copy_(torch.where(used, self.code_count, self._fresh_count(rows)))
            self.code_sum.copy_(torch.where(used[:, None], self.code_sum, spare * self.code_count[:, None]))
            spare = self.code_sum / self.code_count[:, None]
        self.codebook.copy_(torch.where(used[:, None], self.code_sum / self.code_count[:, None], spare))


@dataclass(frozen=True)
class Quantised:
    """What a forward pass of the quantiser yields.

    Attributes:
        latent: sum of the chosen codes ``(batch, tokens, width)``, with a straight-through gradient.
        ids: ``(batch, tokens, layers)``, -1 at padding and in layers that were dropped.
        commit: mean over the used layers of the squared distance between residual and code.
        perplexity: mean over the used layers of ``exp(entropy)`` of the code usage.
    """

    latent: Tensor
    ids: Tensor
    commit: Tensor
    perplexity: Tensor


class ResidualQuantizer(nn.Module):
    """Layers of codebooks, each quantising what the ones before left over.

    Args:
        options: sizes and training behaviour.
        variant: ``default``, or ``upstream``: straight-through gradient times the number of layers, new codes are the
            batch's first latents, the statistics of a replaced code stay, and a loaded codebook is replaced by the
            first training batch.
    """

    def __init__(self, options: RvqOptions, variant: str = "default") -> None:
        super().__init__()
        self.options, self.upstream = options, variant == "upstream"
        if options.shared:
            self.layers = nn.ModuleList([Codebook(options, variant)] * options.quantizers)
        else:
            self.layers = nn.ModuleList(Codebook(options, variant) for _ in range(options.quantizers))

    def books(self) -> list[Codebook]:
        """The codebook of every layer (one object many times where shared)."""
        return list(self.layers)  # type: ignore[arg-type]

    @torch.no_grad()
    def encode(self, latent: Tensor, valid: Tensor | None = None, layers: int | None = None) -> Tensor:
        """Ids ``(batch, tokens, layers)`` of latents ``(batch, tokens, width)``; -1 where not ``valid``.

        ``layers``: only the first so many. Nothing changes in the codebooks, in whatever mode the module is.
        """
        residual, ids = latent.flatten(0, 1), []
        for book in self.books()[:layers]:
            index = nearest(residual, book.codebook)
            residual = residual - book.codebook[index]
            ids.append(index)
        stacked = torch.stack(ids, -1).view(*latent.shape[:2], -1)
        return stacked if valid is None else torch.where(valid[..., None], stacked, -1)

    def decode(self, ids: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Sum of the codes of ``ids`` ``(batch, tokens, layers)``: ``(batch, tokens, width)``; -1 adds nothing.

        Codes with a :attr:`Codebook.code_noise` above zero get fresh noise, from ``generator``.
        """
        books = self.books()[: ids.shape[-1]]
        latent = torch.stack([book.lookup(ids[..., q]) for q, book in enumerate(books)]).sum(0)
        if not any(bool(book.code_noise.any()) for book in self.books()):
            return latent
        for q, book in enumerate(books):
            scale = F.embedding(ids[..., q].clamp_min(0), book.code_noise[:, None]) * (ids[..., q, None] >= 0)
            latent = latent + scale * Draws(generator).normal(tuple(latent.shape), latent)
        return latent

    def forward(self, latent: Tensor, valid: Tensor | None = None, draws: Draws | None = None) -> Quantised:
        """Quantise ``latent`` ``(batch, tokens, width)``; in training mode with noise, dropout and codebook updates."""
        draws = Draws() if draws is None else draws
        keep = torch.ones_like(latent[..., 0], dtype=torch.bool) if valid is None else valid
        x = latent[keep]
        residual, total = x, torch.zeros_like(x)
        ids = latent.new_full((*latent.shape[:2], self.options.quantizers), -1, dtype=torch.long)
        commits, perplexities = [], []
        used = self._used_layers(draws, x)
        for q, book in enumerate(self.books()[:used]):
            index, code, perplexity = self._layer(book, residual, draws)
            ids[keep, q] = index
            commits.append(F.mse_loss(residual, code))
            perplexities.append(perplexity)
            total = total + code
            residual = residual - code
        slope = used if self.upstream else 1
        through = torch.zeros_like(latent).masked_scatter(keep[..., None], total + slope * (x - x.detach()))
        return Quantised(through, ids, torch.stack(commits).mean(), torch.stack(perplexities).mean())

    def _layer(self, book: Codebook, residual: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, codes and perplexity of one layer; in training mode the codebook is updated afterwards."""
        flat = residual.detach()
        if self.training:
            book.start(flat, draws)
            index = book.pick(flat, self.options.temperature, draws)
        else:
            index = nearest(flat, book.codebook)
        code = book.codebook[index].clone()
        share = torch.bincount(index, minlength=len(book.codebook)).to(flat.dtype) / len(index)
        if self.training:
            book.update(flat, index, draws)
        return index, code, torch.exp(-(share * torch.log(share + 1e-7)).sum())

    def _used_layers(self, draws: Draws, like: Tensor) -> int:
        """How many layers a training batch uses: as many in all processes, which meet at every codebook."""
        count = self.options.quantizers
        if not self.training or self.options.quantize_dropout <= 0:
            return count
        dropped = float(draws.uniform((1,), like)) < self.options.quantize_dropout
        used = 1 + int(draws.integers(count, (1,), like.device)) if dropped else count
        if group()[1] == 1:
            return used
        shared = torch.tensor([used], device=like.device)
        torch.distributed.broadcast(shared, 0)
        return int(shared)
