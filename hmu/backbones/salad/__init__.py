"""SALAD: skeleton-aware latent diffusion (Hong et al., CVPR 2025)."""

from hmu.backbones.salad.authors import build, load_authors
from hmu.backbones.salad.model import Salad

__all__ = ["Salad", "build", "load_authors"]
