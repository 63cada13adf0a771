"""What an import starts from: files and their captions. Light to import, so that mistakes are said at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from omegaconf import DictConfig

from hmu.errors import DataError
from hmu.tools.importing.members import clip_ids, matched, read_members
from hmu.tools.importing.sources import TextLine, read_captions, read_texts, tagged


@dataclass(frozen=True)
class Collection:
    """The files of a source with their captions.

    Attributes:
        source: folder or archive.
        ids: id of every file.
        lines: caption lines of the files that have any.
        strays: captions that fit no file, with the reason.
    """

    source: Path
    ids: Mapping[PurePosixPath, str]
    lines: Mapping[PurePosixPath, list[TextLine]]
    strays: dict[str, str]

    @classmethod
    def read(cls, config: DictConfig) -> Collection:
        """Everything but the motions; ConfigError or DataError where something cannot be used."""
        captions = read_captions(Path(config.captions)) if config.captions is not None else {}
        texts = read_texts(Path(config.texts)) if config.texts is not None else {}
        source = Path(config.source)
        ids = clip_ids(path for path, _ in read_members(source, ".bvh"))
        if not ids:
            raise DataError(f"'{source}' holds no .bvh file")
        written, strays = matched(captions, ids)
        ready, _ = matched({name: [name] for name in texts}, ids)  # folders of texts often hold more than is imported
        lines = {path: [tagged(text) for text in found] for path, found in written.items() if path not in ready}
        lines |= {path: [line for name in names for line in texts[name]] for path, names in ready.items()}
        return cls(source, ids, lines, strays)
