"""BAMM: bidirectional autoregressive motion model (Pinyoanuntapong et al., ECCV 2024)."""

from hmu.backbones.bamm.model import Bamm
from hmu.backbones.bamm.native import build, load_authors, load_pretrained, save_pretrained

__all__ = ["Bamm", "build", "load_authors", "load_pretrained", "save_pretrained"]
