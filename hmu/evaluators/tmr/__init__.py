"""TMR (Petrovich et al., ICCV 2023) as an evaluator: loading, training, embedding."""

from hmu.evaluators.tmr.authors import build, from_authors
from hmu.evaluators.tmr.evaluator import TMREvaluator

__all__ = ["TMREvaluator", "build", "from_authors"]
