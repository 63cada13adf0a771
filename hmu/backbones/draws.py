"""Random numbers of training, in one place so that recorded ones can be put in their stead."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Draws:
    """Draws from a generator, wherever that lives, and hands the numbers over on the device that asks.

    Args:
        generator: None = torch's global one.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def _device(self, asked: torch.device) -> torch.device:
        return asked if self.generator is None else self.generator.device

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of any shape, of the type and device of ``like``."""
        drawn = torch.rand(shape, generator=self.generator, device=self._device(like.device), dtype=like.dtype)
        return drawn.to(like.device)

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Standard normal numbers of any shape, of the type and device of ``like``."""
        drawn = torch.randn(shape, generator=self.generator, device=self._device(like.device), dtype=like.dtype)
        return drawn.to(like.device)

    def integers(self, high: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Whole numbers ``0 .. high - 1`` of any shape."""
        return torch.randint(high, shape, generator=self.generator, device=self._device(device)).to(device)

    def order(self, count: int, device: torch.device) -> Tensor:
        """A random permutation of ``0 .. count - 1``, ``(count,)``."""
        return torch.randperm(count, generator=self.generator, device=self._device(device)).to(device)


def gumbel(uniform: Tensor) -> Tensor:
    """Gumbel noise of uniform numbers of any shape, both logarithms kept above ``log 1e-20``."""
    inner = -torch.log(uniform.clamp(min=1e-20))
    return -torch.log(inner.clamp(min=1e-20))


def clip_noise(
    lengths: Sequence[int], inner: tuple[int, ...], generator: torch.Generator | None, like: Tensor
) -> Tensor:
    """Standard normal noise ``(batch, longest, *inner)``, zero beyond each length, of ``like``'s type and device.

    Drawn clip by clip, so that a clip's noise depends neither on how long its neighbours are nor on those after it.
    """
    where = like.device if generator is None else generator.device
    clips = [torch.randn(length, *inner, generator=generator, device=where) for length in lengths]
    return torch.nn.utils.rnn.pad_sequence(clips, batch_first=True).to(like.device, like.dtype)
