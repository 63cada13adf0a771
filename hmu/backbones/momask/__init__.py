"""MoMask: generative masked modelling of motion tokens (Guo et al., CVPR 2024)."""

from hmu.backbones.momask.model import MoMask
from hmu.backbones.momask.native import build, load_authors, load_pretrained, save_pretrained

__all__ = ["MoMask", "build", "load_authors", "load_pretrained", "save_pretrained"]
