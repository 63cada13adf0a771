"""SALAD: skeleton-aware latent diffusion (Hong et al., CVPR 2025)."""

from hmu.backbones.salad.authors import load_authors
from hmu.backbones.salad.model import Salad
from hmu.backbones.salad.native import build, load_pretrained, save_pretrained

__all__ = ["Salad", "build", "load_authors", "load_pretrained", "save_pretrained"]
