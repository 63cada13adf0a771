"""MoMask: generative masked modelling of motion tokens (Guo et al., CVPR 2024)."""

from hmu.backbones.momask.authors import build, load_authors
from hmu.backbones.momask.model import MoMask

__all__ = ["MoMask", "build", "load_authors"]
