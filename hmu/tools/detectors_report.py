"""Measure the concept detectors and write what they do into their page:  ``python -m hmu.tools.detectors_report``."""

from __future__ import annotations

import csv
import inspect
import io
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from textwrap import TextWrapper
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from hmu.app import main
from hmu.checkpoints.arrays import load_arrays
from hmu.documents import read_text, write_text
from hmu.errors import ConfigError, DataError
from hmu.motion import detectors
from hmu.progress import phase
from hmu.report.table import Table
from hmu.values import Count, Place, Seed
from hmu.values import Keys as Declared

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

# (action, detector): the action contains the concept by its nature, so finding it there is no mistake
CONTAINED = {
    ("wave", "raise_arms"),
    ("throw", "raise_arms"),
    ("crouch_walk", "walk"),
    ("turn", "walk"),
}


class Keys(Declared):
    """What ``configs/detectors_report.yaml`` holds."""

    document: Place
    clips: Count
    seed: Seed
    noise: Sequence[Annotated[float, ">= 0"]]
    joints: Place | None
    labels: Place | None


def run(config: DictConfig) -> Path:
    """Rewrite the generated parts of ``config.document``; returns its path."""
    document = page_of(config)
    if (config.joints is None) != (config.labels is None):
        raise ConfigError("give joints= and labels= together, or neither (then the table of real clips is kept)")
    text = read_text(document)
    for name in ("rules", "demo", *(["real"] if config.joints is not None else [])):
        fill(text, name, "")  # refuses before the work
    parts = {"rules": rules()}
    if config.joints is not None:
        parts["real"] = real_part(Path(config.joints), Path(config.labels))
    parts["demo"] = demo_part(int(config.clips), int(config.seed), list(config.noise))
    for name, part in parts.items():
        text = fill(text, name, part)
    write_text(document, text)
    sys.stdout.write(f"{document}: rewrote {', '.join(parts)}\n")
    return document


def page_of(config: DictConfig) -> Path:
    """``document``, which must exist."""
    document = Path(config.document)
    if not document.is_file():
        raise ConfigError(f"document={document} does not exist: run this from the repository's root")
    return document


def fill(text: str, name: str, part: str) -> str:
    """``text`` with ``part``, wrapped, between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``, both in it."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise DataError(f"document: it needs the lines '{begin}' and '{end}' once each; give docs/detectors.md")
    head, rest = text.split(begin)
    return f"{head}{begin}\n{wrapped(part.strip())}\n{end}{rest.split(end)[1]}"


def wrapped(text: str, width: int = 110) -> str:
    """Paragraphs broken at ``width`` as in all pages; headings and tables stay as they are."""
    wrapper = TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    blocks = groupby(text.splitlines(), key=lambda line: bool(line) and line[0] not in "#|")
    return "\n".join(wrapper.fill(" ".join(lines)) if plain else "\n".join(lines) for plain, lines in blocks)


def rules() -> str:
    """Every detector's rule in words and its thresholds with units, from the code itself."""
    sections = []
    for name in detectors.names():
        kind = type(detectors.detector(name))
        source = inspect.getsource(kind)
        rows = re.findall(r"^    (\w+): (?:float|int) = (\S+)  #: (.+)$", source, flags=re.MULTILINE)
        words = (inspect.getdoc(kind) or "").replace("``", "`")
        table = "\n".join(f"| `{field}` | {value} | {unit} |" for field, value, unit in rows)
        sections.append(f"### {name}\n{words}\n\n| threshold | value | unit |\n|---|---|---|\n{table}")
    return "\n\n".join(sections)


def demo_part(clips: int, seed: int, noise: Sequence[float]) -> str:
    """Recall and false positives on fresh demo clips, and the confusion table of those with one action."""
    from hmu.data.demo import ACTIONS, generate

    with tempfile.TemporaryDirectory(prefix="hmu-detectors-") as folder:
        root = Path(folder) / "demo"
        generate(root, seed=seed, clips=clips)
        with (root / "labels.csv").open(newline="", encoding="utf-8") as file:
            actions_of = {row["id"]: row["actions"].split(";") for row in csv.DictReader(file)}
        joints, lengths = padded([np.load(root / "new_joints" / f"{name}.npy") for name in actions_of])
    truth = list(actions_of.values())
    random = np.random.default_rng(seed)
    with phase("detecting", 1 + len(noise), "passes") as done:
        fired = {0.0: detectors.detect_each(detectors.names(), joints, lengths)}
        done.advance()
        for sigma in noise:
            fired[sigma] = detectors.detect_each(
                detectors.names(), joints + random.normal(0.0, sigma, joints.shape), lengths
            )
            done.advance()
    single = [actions[0] if len(actions) == 1 else "" for actions in truth]
    contained = ", ".join(f"{action} -> {concept}" for action, concept in sorted(CONTAINED))
    return (
        f"{len(truth)} clips, seed {seed}. Recall: share of the clips with the action in which it is found. "
        f"False positives: share of the others, less those whose action contains the concept ({contained}).\n\n"
        + rates_table(truth, fired)
        + f"\n\nClips with one action ({sum(bool(a) for a in single)}), per cent found:\n\n"
        + confusion(single, fired[0.0], ACTIONS)
    )


def rates_table(truth: Sequence[Sequence[str]], fired: Mapping[float, Mapping[str, Bools]]) -> str:
    """Markdown: recall / false-positive rate per detector, one column per noise level in metres.

    ``fired``: by noise level and detector, bool ``(clips,)``.
    """
    rows = []
    for name in detectors.names():
        has = np.array([name in actions for actions in truth])
        free = np.array([name not in actions and not any((a, name) in CONTAINED for a in actions) for actions in truth])
        cells = [f"{_share(hits[name], has)} / {_share(hits[name], free)}" for hits in fired.values()]
        rows.append([name, str(int(has.sum())), *cells])
    levels = ["clean" if sigma == 0 else f"noise {100 * sigma:g} cm" for sigma in fired]
    return "\n".join(Table.of(["detector", "clips", *levels], rows).markdown())


def _share(hits: Bools, among: Bools) -> str:
    return f"{hits[among].mean():.3f}" if among.any() else "-"


def confusion(labels: Sequence[str], fired: Mapping[str, Bools], rows: Sequence[str]) -> str:
    """Markdown: per cent of the clips of each label (row) in which each detector (column) fires; blank = none.

    ``fired``: by detector, bool ``(clips,)``.
    """
    lines = []
    for row in rows:
        members = np.array(labels) == row
        if members.any():
            shares = [f"{100 * hits[members].mean():.0f}" if hits[members].any() else "" for hits in fired.values()]
            lines.append([row, str(int(members.sum())), *shares])
    return "\n".join(Table.of(["", "n", *fired], lines).markdown())


def real_part(joints_file: Path, labels_file: Path) -> str:
    """The confusion table of real clips.

    Args:
        joints_file: ``.npz``, one array ``(frames, 22, 3)`` per clip id, metres, 20 fps.
        labels_file: CSV with the columns ``file`` (clip id, an extension is ignored) and ``content``.
    """
    for path in (joints_file, labels_file):
        if not path.is_file():
            raise DataError(f"{path} does not exist: give joints=<.npz> labels=<.csv>")
    rows = list(csv.DictReader(io.StringIO(read_text(labels_file), newline="")))
    if not rows or not {"file", "content"} <= rows[0].keys():
        raise DataError(f"{labels_file}: expected a CSV with the columns file and content")
    contents = {Path(row["file"]).stem: row["content"] for row in rows}
    motions = load_arrays(joints_file, limit=4 << 30)
    unknown = sorted(set(motions) - set(contents))
    if unknown:
        raise DataError(f"{labels_file} has no label for clip '{unknown[0]}' of {joints_file} ({len(unknown)} such)")
    labels = [contents[name] for name in motions]
    with phase("detecting"):
        fired = detectors.detect_each(detectors.names(), *padded(list(motions.values())))
    return f"{len(labels)} clips, per cent found:\n\n" + confusion(labels, fired, sorted(set(labels)))


def padded(motions: Sequence[NDArray[np.floating]]) -> tuple[Array, NDArray[np.int64]]:
    """Clips ``(frames, 22, 3)`` as one batch ``(batch, frames, 22, 3)``, zero beyond each end, and their lengths."""
    lengths = np.array([len(motion) for motion in motions], dtype=np.int64)
    joints = np.zeros((len(motions), int(lengths.max(initial=1)), 22, 3))
    for row, motion in zip(joints, motions, strict=True):
        row[: len(motion)] = motion
    return joints, lengths


if __name__ == "__main__":
    main("detectors_report", run, Keys, sweeps=False)
