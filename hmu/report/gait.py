"""What the report of a gait model shows: statistics by style, windows beside each other, curves over the cycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hmu.data.concepts import Concept
from hmu.evaluation.generation import Generated
from hmu.evaluation.sets import PromptSet
from hmu.gait.cycles import gait_cycles
from hmu.gait.figure import HEIGHT, gait_stick_figure
from hmu.gait.representation import GAIT
from hmu.gait.rules import RULES, styles
from hmu.gait.statistics import NAMES, statistics
from hmu.report.samples import animation_name
from hmu.viz.gait import cycle_plot, gait_gif

ANIMATIONS = 3  # windows in animations
#: by style and statistic: mean, standard deviation, windows that have it
Table = dict[str, dict[str, tuple[float, float, int]]]


def windows_of(sets: Sequence[PromptSet], generated: Mapping[str, Mapping[str, Generated]]) -> dict[str, Tensor]:
    """Windows ``(n, frames, 63)`` by who made them: ``real`` ones of all sets, models in their largest set."""
    real = [prompts.real.motion for prompts in sets if prompts.real is not None and prompts.name != "neighbours"]
    largest = max(sets, key=len).name
    return {"real": torch.cat(real)} | {model: torch.cat(found[largest].motions) for model, found in generated.items()}


def write_pages(
    sets: Sequence[PromptSet], generated: Mapping[str, Mapping[str, Generated]], concept: Concept, samples: Path
) -> list[str]:
    """What ``configs/suite/gait.yaml`` adds to a report: pictures in ``samples``, and the returned Markdown."""
    windows = windows_of(sets, generated)
    write_gait_samples(samples, windows, concept)
    return ["", gait_markdown(windows)]


def by_style(windows: Tensor, height: float = HEIGHT) -> Table:
    """Mean, standard deviation and count of every statistic, by style.

    Args:
        windows: ``(n, frames, 63)`` in real units.
        height: metres of the body that speeds are computed for.
    """
    values, table = statistics(windows, height), Table()
    for style, members in styles(windows).items():
        table[style] = {}
        for name in NAMES:
            finite = values[name][members].double()
            finite = finite[finite.isfinite()]
            spread = float(finite.std()) if len(finite) > 1 else float("nan")
            table[style][name] = (float(finite.mean()) if len(finite) else float("nan"), spread, len(finite))
    return table


def gait_markdown(windows: Mapping[str, Tensor], height: float = HEIGHT) -> str:
    """One table per style, statistics as mean ± standard deviation, side by side by who made the windows.

    Args:
        windows: ``(n, frames, 63)`` in real units, by maker (``real``, ``base`` …). height: as :func:`by_style`.
    """
    tables = {name: by_style(states, height) for name, states in windows.items()}
    lines = ["## Gait by style", "", "Mean ± standard deviation over windows that the rules name so.", ""]
    for style in RULES:
        counts = ", ".join(f"{name} {max(n for *_, n in table[style].values())}" for name, table in tables.items())
        lines += [f"### {style.replace('_', ' ')} ({counts})", "", "| statistic | " + " | ".join(tables) + " |"]
        lines += ["|---|" + "--:|" * len(tables)]
        for name in NAMES:
            cells = [_mean(*table[style][name]) for table in tables.values()]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _mean(mean: float, spread: float, count: int) -> str:
    return "–" if not count else f"{mean:.3g} ± {spread:.2g}" if count > 1 else f"{mean:.3g}"


def write_gait_samples(folder: Path, windows: Mapping[str, Tensor], concept: Concept, height: float = HEIGHT) -> None:
    """Write the pictures of ``samples/``.

    ``before_after.gif``: the first windows that are of the concept in the base, beside what the other models make of
    the same noise. ``cycles_<style>.png``: angles and forces over the gait cycle, real windows beside generated ones.

    Args:
        folder: where they go. windows: of :func:`windows_of`, ``(n, frames, 63)`` in real units.
        concept: what was unlearned. height: metres of the body that is drawn.
    """
    models = {name: found for name, found in windows.items() if name != "real"}
    judge, base = GAIT.judge(concept), models["base"]
    order = torch.arange(len(base))
    if judge is not None:  # windows of the concept come first
        order = torch.argsort(~judge(base, torch.full((len(base),), base.shape[1])), stable=True)
    for number, i in enumerate(order[:ANIMATIONS].tolist(), start=1):
        panels = [(name, gait_stick_figure(found[i], height)) for name, found in models.items()]
        gait_gif(panels, folder / animation_name(number), caption="equal noise")
    for style, members in RULES.items():
        groups = {name: gait_cycles(found[members(found)]) for name, found in windows.items()}
        if any(map(len, groups.values())):
            cycle_plot(groups, folder / f"cycles_{style}.png", title=style.replace("_", " "))
