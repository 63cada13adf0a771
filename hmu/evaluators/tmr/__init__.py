"""TMR (Petrovich et al., ICCV 2023) as an evaluator: loading, training, embedding."""

from hmu.evaluators.tmr.evaluator import TMREvaluator
from hmu.evaluators.tmr.files import build, from_authors, load_pretrained, save_pretrained

__all__ = ["TMREvaluator", "build", "from_authors", "load_pretrained", "save_pretrained"]
