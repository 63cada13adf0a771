"""SALAD: skeleton-aware latent diffusion."""

from hmu.backbones.salad.model import Salad

__all__ = ["Salad"]
