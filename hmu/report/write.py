"""What an evaluation leaves in its run folder, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hmu.data.concepts import Concept
from hmu.documents import write_text
from hmu.evaluation.results import Results
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.suite import ByModel, Suite
from hmu.report.confusion import confusion_markdown, write_confusions
from hmu.report.page import page
from hmu.report.samples import first_takes, write_samples
from hmu.report.text import markdown


def write_measured(
    folder: Path,
    results: Results,
    suite: Suite,
    sets: Sequence[PromptSet],
    generated: ByModel,
    concept: Concept,
    fps: float,
) -> None:
    """Write ``metrics.json``, ``report.md``, ``report.html``, ``instead.json`` and ``samples/`` into a run folder.

    ``suite``: what measured, and searched its gallery; ``generated``: motions by model and set.
    """
    results.save(folder / "metrics.json")
    samples = folder / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    content = write_confusions(folder, suite, sets, generated, concept, str(results.context["dataset"]))
    sections = [markdown(results), *confusion_markdown(content)]
    takes, stick = first_takes(sets, generated, concept, fps)
    write_text(folder / "report.html", page(results, takes, stick, content))
    write_samples(samples, results, sets, generated, concept, fps)
    if suite.pages is not None:
        sections += suite.pages(sets, generated, concept, samples)
    write_text(folder / "report.md", "\n".join(sections))
