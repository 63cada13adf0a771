"""Parity of the published keyword split and of its refinement by retrieval (``splits``)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hmu.data.published_split import id_list, keyword_split, listed_ids
from tests.parity.case import Case, read_json
from tests.parity.checks import Checks, exact, unchecked
from tests.parity.kinds import compares

KNOWN = re.compile(
    r"concept_patterns\.json|expected_keyword_splits\.json|expected_tmr\.json|tmr_records\.json|[^/]+\.txt"
    r"|texts/.+\.txt|expected/.+-wo?-.+\.txt|(.*/)?[^/]+\.md"
)


def retrieval_split(
    records: Sequence[Mapping[str, Any]], retain: Sequence[str], pattern: str, min_occurrence: int = 8
) -> tuple[list[str], list[str]]:
    """The refinement of HMU by motion retrieval: which forget clips really look like the concept.

    A generated motion counts if any description retrieved for it matches ``pattern`` (here ignoring case). Clips with
    at least ``min_occurrence`` counting motions form the forget side (sorted); those with fewer, but some, are appended
    to the keyword ``retain`` side; clips with none are in neither list, as published.
    """
    matcher = re.compile(pattern, re.IGNORECASE)
    counts = Counter(
        str(record["name"])
        for record in records
        if any(matcher.search(str(hit["description"])) for hit in record["retrieval"])
    )
    names = sorted(counts)
    forget = [name for name in names if counts[name] >= min_occurrence]
    return forget, [*retain, *(name for name in names if counts[name] < min_occurrence)]


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="surrogateescape")


class _Published:
    """The published script on the files of one case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.patterns: dict[str, dict[str, str]] = read_json(folder / "concept_patterns.json")
        self.runs: dict[str, Any] = read_json(folder / "expected_keyword_splits.json")

    def read_text(self, clip: str) -> bytes | None:
        path = self.folder / "texts" / f"{clip}.txt"
        return path.read_bytes() if path.is_file() else None

    def pattern(self, options: Mapping[str, str]) -> str:
        return self.patterns.get(options.get("dataset", "HumanML3D"), {}).get(options["split_name"], "")

    def lists(self, options: Mapping[str, str]) -> dict[str, str]:
        """Both published files for the options of one run of the script."""
        split, name = options["main_split"], options["split_name"]
        listing = (self.folder / f"{split}.txt").read_bytes()
        pattern = re.compile(self.pattern(options))
        sides = keyword_split(listing, self.read_text, pattern, int(options.get("min_occurence", 1)))
        names = (f"kw_splits/{split}-w-{name}.txt", f"kw_splits/{split}-wo-{name}.txt")
        return {key: _text(id_list(ids)) for key, ids in zip(names, sides, strict=True)}

    def refined(self, records: Any, options: Mapping[str, str], least: int) -> tuple[str, str]:
        """Both files after the refinement by retrieval."""
        clips = listed_ids(_retained(self.lists(options)).encode("utf-8", errors="surrogateescape"))
        forget, retain = retrieval_split(records, clips, self.pattern(options), least)
        return _text(id_list(forget)), _text(id_list(retain))

    def continued(self, run: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        """Options of the keyword runs whose retain list, plus the recorded additions, is the refined retain list."""
        added = "".join(f"{clip}\n" for clip in run["retain_file_is_keyword_retain_file_plus"])
        for keyword_run in self.runs.values():
            if _retained(keyword_run["files"]) + added == run["retain_file"]:
                yield options_of(keyword_run["args"])


def _retained(files: Mapping[str, str]) -> str:
    return next(text for name, text in files.items() if "-wo-" in name)


def options_of(arguments: list[str]) -> dict[str, str]:
    """``["--a", "1", "--b", "2"]`` -> ``{"a": "1", "b": "2"}``."""
    return {key.lstrip("-"): value for key, value in zip(arguments[::2], arguments[1::2], strict=True)}


@compares("splits", known=("*",), files=())
def splits(case: Case) -> Checks:
    """Every run of the published script recorded in the case, its files byte for byte."""
    folder, script = case.folder, _Published(case.folder)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if not KNOWN.fullmatch(name):
            yield unchecked(f"'{name}'", "unknown kind")
    for key, run in script.runs.items():
        yield exact(key, script.lists(options_of(run["args"])), run["files"])
    for path in sorted((folder / "expected").glob("*.txt")):
        split, _, name = re.fullmatch(r"(.+?)-(w|wo)-(.+)\.txt", path.name).groups()  # type: ignore[union-attr]
        ours = script.lists({"main_split": split, "split_name": name})[f"kw_splits/{path.name}"]
        yield exact(path.name, ours, _text(path.read_bytes()))
    # the run's split and concept are not recorded: they are those whose keyword retain list the result continues
    records = read_json(folder / "tmr_records.json").get("records", [])
    for key, run in read_json(folder / "expected_tmr.json").items():
        if "forget_file" not in run:  # the script found nothing to write: no records, no forget side
            yield exact(key, bool(retrieval_split([], [], "x")[0]), run["forget_file_written"])
            continue
        least = re.fullmatch(r"tmr_min_occurence=(\d+)", key)
        guesses = script.continued(run) if least else ()
        results = [script.refined(records, options, int(least[1])) for options in guesses if least]
        yield exact(key, (run["forget_file"], run["retain_file"]) in results, True)
