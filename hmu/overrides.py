"""What the user typed and chose: the words of a command line, the options of configuration groups.

The only room that asks Hydra about the running job.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hmu.documents import read_json, read_yaml
from hmu.errors import DataError
from hmu.tree import is_group

_LIMIT = 1 << 19  # bytes of a record


# -- the running job ---------------------------------------------------------------------------------------------------
def running() -> Any:
    """Hydra's node of the running job; None outside one."""
    return HydraConfig.get() if HydraConfig.initialized() else None


def in_sweep() -> bool:
    """Whether the running job is one of a multirun."""
    ours = running()
    return ours is not None and ours.mode == RunMode.MULTIRUN


@contextmanager
def standing_in(node: DictConfig) -> Iterator[None]:
    """For the time of the block the job of ``node`` (a composed configuration with ``hydra``) is the running one."""
    instance = HydraConfig.instance()
    outer = instance.cfg
    instance.set_config(node)
    try:
        yield
    finally:
        instance.cfg = outer


def typed() -> list[str]:
    """The words of the running job's command line; none outside one."""
    ours = running()
    return [] if ours is None else list(ours.overrides.task)


# -- words -------------------------------------------------------------------------------------------------------------
def split(word: str) -> tuple[str, str]:
    """Key and value of one word, of any that a user may type: ``+method.lr=1`` gives ``method.lr`` and ``1``."""
    key, _, value = word.partition("=")
    return key.lstrip("+~"), value


def keys(words: Iterable[str]) -> list[str]:
    """The keys that are given, in order; ``text@backbone.text`` stays as it is typed."""
    return [split(word)[0] for word in words]


def parsed(words: Sequence[str]) -> list[Override]:
    """Words that Hydra takes, as it reads them.

    Raises:
        HydraException: one that it does not take.
    """
    return OverridesParser.create().parse_overrides(list(words))


def chooses(override: Override) -> bool:
    """Whether it chooses a file of a config group; ``concept={neighbours:[walk]}`` gives values of one."""
    named = override.package is not None or is_group(override.key_or_group)
    return named and not isinstance(override.value(), dict)


def place_of(override: Override) -> str:
    """Where in the configuration it writes: ``backbone.sampling.guidance``, ``backbone.text``, ``backbone``."""
    return override.package or override.key_or_group.replace("/", ".")


def leaves(place: str, value: Any) -> Iterator[str]:
    """The keys that a value writes: of a dictionary, which is merged into what is there, each of its own."""
    if not isinstance(value, dict):
        yield place
    else:
        for key, inner in value.items():
            yield from leaves(f"{place}.{key}", inner)


# -- choices -----------------------------------------------------------------------------------------------------------
def choices(config: DictConfig) -> dict[str, str]:
    """The options by group (``backbone``: ``salad_demo``) that the running job was composed of; none outside one.

    A job that measures a run (``ckpt``) takes over what that run has chosen, unless its command line chooses.
    """
    ours = running()
    if ours is None:
        return {}
    own = {str(group): str(name) for group, name in ours.runtime.choices.items() if name is not None}
    ckpt, given = OmegaConf.select(config, "ckpt", throw_on_missing=False), keys(typed())
    theirs = {} if ckpt is None else chosen_by(Path(str(ckpt)))
    return own | {group: name for group, name in theirs.items() if group not in given}


def choice(group: str, config: DictConfig) -> str | None:
    """The option of one group; None outside a job, and where there is no such group."""
    return choices(config).get(group)


def chosen_by(path: Path) -> dict[str, str]:
    """Options by group of a run folder, or of the run that holds the folder ``path``; of an edit alone its method."""
    home = path if (path / "config.yaml").is_file() else path.parent
    method = next((m for p in (path / "edit", path) if (m := mapping(p / "edit.json").get("method"))), None)
    return ({"method": str(method)} if method else {}) | recorded_choices(home)


def recorded_choices(home: Path) -> dict[str, str]:
    """Options by group as Hydra has noted them in a run folder; empty where it has not."""
    node: Any = mapping(home / ".hydra" / "hydra.yaml")
    for key in ("hydra", "runtime", "choices"):
        node = node.get(key) if isinstance(node, dict) else None
    return {str(k): str(v) for k, v in node.items() if v is not None} if isinstance(node, dict) else {}


def mapping(path: Path) -> dict[str, Any]:
    """A YAML or JSON mapping that somebody else may have written; empty where there is none that can be read."""
    try:
        content = (read_json if path.suffix == ".json" else read_yaml)(path, limit=_LIMIT)
    except DataError:
        return {}
    return content if isinstance(content, dict) else {}
