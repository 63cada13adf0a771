"""GaitDynamics: a diffusion transformer over joint angles, root motion and ground-reaction forces (Tan et al. 2025)."""

from hmu.backbones.gaitdynamics.model import GaitDynamics
from hmu.backbones.gaitdynamics.native import build, load_authors, load_pretrained, save_pretrained

__all__ = ["GaitDynamics", "build", "load_authors", "load_pretrained", "save_pretrained"]
