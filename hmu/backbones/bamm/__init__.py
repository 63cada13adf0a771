"""BAMM: bidirectional autoregressive motion model (Pinyoanuntapong et al., ECCV 2024)."""

from hmu.backbones.bamm.authors import build, load_authors
from hmu.backbones.bamm.model import Bamm

__all__ = ["Bamm", "build", "load_authors"]
