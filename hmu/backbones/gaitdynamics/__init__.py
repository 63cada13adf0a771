"""GaitDynamics: a diffusion transformer over windows of kinematics and forces (Tan et al. 2025)."""

from hmu.backbones.gaitdynamics.authors import build, load_authors
from hmu.backbones.gaitdynamics.model import GaitDynamics

__all__ = ["GaitDynamics", "build", "load_authors"]
