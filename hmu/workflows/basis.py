"""Before the work: whether unlearning this concept from this base on these data can show anything."""

from __future__ import annotations

import logging
from copy import copy

import numpy as np
from lightning.pytorch.utilities.seed import isolate_rng

from hmu.backbones.base import MotionBackbone
from hmu.data.dataset import DatasetSource
from hmu.devices import of_module
from hmu.errors import DataError
from hmu.evaluation.claims import FAR, objections, offer
from hmu.evaluation.counting import Resampling, Tally
from hmu.evaluation.detecting import look, rates
from hmu.evaluation.results import Results, Row
from hmu.motion.layout import FeatureLayout
from hmu.motion.statistics import motion_statistics
from hmu.processes import started
from hmu.workflows.job import Job

log = logging.getLogger(__name__)
LOOKED_AT = 500  #: clips that stand for a data set
BODY = ("positions", "rotations", "velocities")  #: groups of columns that models normalise alike


def data_distance(backbone: MotionBackbone, source: DatasetSource) -> float | None:
    """How far the data are from what the backbone was trained on, in standard deviations of a column.

    Root mean square over :data:`BODY` of the shift of the mean and the change of the deviation, less what so few clips
    vary by chance (one over their number, as measured). None where the backbone keeps no statistics of such columns.
    """
    own = backbone.normalisation()
    try:
        groups = dict(FeatureLayout.of(source.features).groups)
    except DataError:
        return None
    if own is None or backbone.features != source.features:
        return None
    pack = source.pack
    numbers = np.array([number for number, clip in enumerate(pack.ids) if clip in source.used_ids])
    indices = numbers[np.linspace(0, len(numbers) - 1, min(LOOKED_AT, len(numbers))).round().astype(int)]
    mean, std = motion_statistics(pack.motion[pack.offsets[i] : pack.offsets[i + 1]] for i in indices)
    centre, unit = (part.detach().double().cpu().numpy() for part in own)
    squares = ((mean - centre) / unit) ** 2 + (std / unit - 1) ** 2
    apart = float(np.mean([squares[groups[name]].mean() for name in BODY]))
    return float(np.sqrt(max(0.0, apart - 1 / len(indices))))


def warn_of_strange_data(backbone: MotionBackbone, source: DatasetSource) -> None:
    """One line where the data are not like those that the base was trained on."""
    distance = data_distance(backbone, source)
    if distance is not None and distance > FAR:
        log.warning(
            "data set '%s' is not like the data that %s was trained on (%.1f standard deviations off, up to %g is "
            "usual): the report will claim nothing; train a base on your own data first (python train.py dataset=…)",
            source.name, backbone.name, distance, FAR,
        )  # fmt: skip


def warn_of_no_basis(job: Job) -> None:
    """One line where the base hardly shows the concept, and which ones it does show.

    The base is asked the first repeat of what :func:`hmu.workflows.measure.measure` asks it anyway; the cache keeps the
    answers, so nothing is generated twice, and random numbers stay where they were. One of several processes is not
    kept waiting for this: there the report alone says it.
    """
    sets = {prompts.name: prompts for prompts in job.sets if prompts.name in ("forget", "retain")}
    concept, backbone = job.concept, job.backbone
    if started() > 1 or not backbone.reads_text or "forget" not in sets:
        return
    if sets["forget"].representation.rule(concept) is None:
        return
    suite = copy(job.suite)
    suite.repeats = 1
    evaluator, rows = job.evaluator.to(of_module(backbone)), list[Row]()
    context = {"concept": concept.name, "reads_text": True}
    for name in sorted(sets):
        with isolate_rng():
            asked = suite.ask([job.base_model], [sets[name]], evaluator, job.seed, job.generated)
        motion = asked["base"][name].motions[0]
        hits = [look(sets[name], motion, concept)]
        tally = Tally("base", name, Resampling(len(motion), 0))
        rows += [entry.row for entry in rates(tally, sets[name], hits, concept)]
        if not objections(Results(context, rows)):
            return  # the base shows the concept: what else it shows need not be known now
    results = Results(context, rows)
    reasons = [*objections(results), *filter(None, [offer(results)])]
    log.warning("%s; the report will claim nothing", "; ".join(reasons))
