"""Remove a concept from a motion generator: ``python unlearn.py method=esd concept=kick``."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from hmu.app import main
from hmu.keys import Unlearn


def unlearn(config: DictConfig) -> Path:
    """Learn an edit that removes ``config.concept``, save it, and measure it beside the base.

    Returns:
        the run folder.
    """
    from hmu.workflows.measure import measure  # torch and all that is heavy: after the command line was checked
    from hmu.workflows.unlearning import Unlearning

    job = Unlearning(config)  # data, concept, sides, backbone, method, suite, …: each built once, when it is asked for
    job.claim()  # a run folder of its own
    job.check()  # whatever cannot work is refused here, in one line
    run = job.begin()  # run.json, partition.json and audit.csv; the plan, and how long it will take
    edit = job.learn()  # the method on both sides; the backbone is its old self afterwards
    if run.writes:  # of several processes the first goes on alone
        job.save(edit)
        if config.evaluate:
            measure(job, [(edit, 1.0)])  # metrics.json, report.md, report.html, samples/
        run.finish()
    return job.folder


if __name__ == "__main__":
    main("unlearn", unlearn, Unlearn)
