"""The HumanML3D evaluator of Guo et al. (CVPR 2022): loading, training, embedding."""

from hmu.evaluators.guo.authors import build, from_authors
from hmu.evaluators.guo.evaluator import GuoEvaluator
from hmu.evaluators.guo.vocabulary import Vocabulary, load_glove

__all__ = ["GuoEvaluator", "Vocabulary", "build", "from_authors", "load_glove"]
