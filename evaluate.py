"""Measure a run, an edit, or an authors' checkpoint: ``python evaluate.py ckpt=outputs/…``."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from hmu.app import main
from hmu.keys import Evaluate


def evaluate(config: DictConfig) -> Path:
    """Measure the model behind ``config.ckpt`` beside its base; the measured folder is left as it is.

    Under torchrun the processes share the generating. A run that was killed goes on where it was when the same command
    is given again: in a new folder, or in its own one if that is named (``hydra.run.dir=``).

    Returns:
        the new run folder.
    """
    from hmu.workflows.evaluation import Evaluation  # torch and all that is heavy: after the command line was checked
    from hmu.workflows.measure import measure

    job = Evaluation(config)  # with the data, concept, backbone and evaluator of that run, where nothing else is typed
    job.claim()  # a run folder of its own, or that of the killed run
    job.check()  # whatever cannot be measured is refused here, in one line
    run = job.begin()  # run.json; the plan, and how long it will take
    measure(job, job.edits)  # metrics.json, report.md, report.html, samples/
    run.finish()
    return job.folder


if __name__ == "__main__":
    main("evaluate", evaluate, Evaluate)
