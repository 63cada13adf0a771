"""The commands that the README and the configuration files show, taken from their text and taken apart."""

from __future__ import annotations

import itertools
import re
import shlex
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, open_dict

from hmu.command_line import understood
from hmu.compose import SCRIPTS, keys_of, register_resolvers
from hmu.config import CONFIGS, check_config
from hmu.help import commands, header, main_help
from hmu.tools import report
from tests.conftest import REPOSITORY

PLACEHOLDER = "PLACEHOLDER"
_BLOCK = re.compile(r"^```(?:bash|sh|console|powershell)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:python|torchrun|make) [^`]+)`")


class Unknown(AssertionError):
    """A command that names nothing that exists."""


@dataclass(frozen=True)
class Command:
    """A line to type.

    Attributes:
        line: as written, without what surrounds it.
        origin: the file that shows it, and the line's number among its commands.
    """

    line: str
    origin: str

    @property
    def words(self) -> list[str]:
        """What a shell would pass on, with ``<…>`` and ``…`` replaced."""
        line = re.sub(r"<[^>]*>|…", PLACEHOLDER, self.line).replace("\\", "/")
        return shlex.split(line, comments=True)

    @property
    def target(self) -> tuple[str, list[str]]:
        """What is run (``unlearn.py``, ``hmu.tools.doctor``, ``make``, ``pip``, ``venv``) and its arguments.

        Raises:
            Unknown: a program, script or module that does not exist.
        """
        program, *rest = self.words
        name = Path(program).name
        if name == "make":
            return "make", rest
        if name == "torchrun":
            script = next((i for i, word in enumerate(rest) if word.endswith(".py")), None)
            if script is None or not set(rest[:script:2]) <= {"--nproc-per-node"}:
                raise Unknown(f"torchrun without a script, or with unknown options: {self.line}")
            rest = rest[script:]
        elif name != "python" or not rest:
            raise Unknown(f"no such program: {self.line}")
        if rest[0] == "-m":
            if rest[1] in ("pip", "venv"):
                return rest[1], rest[2:]
            if find_spec(rest[1]) is None:
                raise Unknown(f"no such module: {self.line}")
            return rest[1], rest[2:]
        if Path(rest[0]).stem not in SCRIPTS or not (REPOSITORY / rest[0]).is_file():
            raise Unknown(f"no such script: {self.line}")
        return rest[0], rest[1:]

    @property
    def config(self) -> str | None:
        """The root configuration that the command composes; None where it composes none."""
        name = self.target[0]
        name = name.rpartition(".")[2] if name.startswith("hmu.") else name.removesuffix(".py")
        return name if (CONFIGS / f"{name}.yaml").is_file() else None

    @property
    def sweeps(self) -> bool:
        """Whether it is a multirun."""
        return bool({"-m", "--multirun"} & set(self.target[1]))

    @property
    def overrides(self) -> list[str]:
        """Its overrides as typed."""
        name, words = self.target
        if name == "hmu.tools.report":  # takes folders as they are
            return report.overrides(words)
        return [word for word in words if word not in ("-m", "--multirun")]


def of_readme(path: Path) -> list[Command]:
    """Commands in a Markdown file's code blocks, and those written inline."""
    text = path.read_text(encoding="utf-8")
    lines = [line.strip() for block in _BLOCK.findall(text) for line in block.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    prose = re.sub(r"\s+", " ", _FENCED.sub("", text))
    lines += _INLINE.findall(prose)
    return [Command(line, f"{path.name}:{number}") for number, line in enumerate(dict.fromkeys(lines), start=1)]


def of_header(path: Path) -> list[Command]:
    """Commands in the comment that a configuration file starts with."""
    found = commands(header(path.read_text(encoding="utf-8")))
    name = path.relative_to(CONFIGS).as_posix()
    return [Command(line, f"{name}:{number}") for number, line in enumerate(found, start=1)]


def single_runs(overrides: list[str]) -> list[list[str]]:
    """The runs of a sweep, so many that every value of every key occurs once (not all combinations)."""
    parsed: list[Override] = OverridesParser.create().parse_overrides(overrides)
    choices = []
    for override in parsed:
        if override.is_sweep_override():
            key = override.get_key_element()
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            choices.append([override.input_line or ""])
    return [[values[i % len(values)] for values in choices] for i in range(max(map(len, choices)))]


def composed(command: Command) -> list[DictConfig]:
    """The command's configurations, composed and checked as the script would.

    Raises:
        HydraException: for a group, choice or key that does not exist.
        ConfigError: for a value that is missing or that nothing reads.
    """
    keys = keys_of(str(command.config))
    flag = ["-m"] if command.sweeps else []
    words = understood([*flag, *command.overrides], keys)[len(flag) :]
    return [checked(str(command.config), *run) for run in (single_runs(words) if command.sweeps else [words])]


def checked(root: str, *overrides: str) -> DictConfig:
    """A script's configuration, composed and checked as in a job.

    Raises:
        HydraException, ConfigError: as :func:`composed`.
    """
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose(root, overrides=list(overrides), return_hydra_config=True)
    config.hydra.runtime.output_dir = str(REPOSITORY / "outputs")
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config.hydra
    check_config(config, overrides, keys_of(root))
    return config


def check(command: Command) -> None:
    """Refuse a command with anything in it that does not exist.

    Raises:
        Unknown, HydraException, ConfigError: naming it.
    """
    name, arguments = command.target
    if name == "make":
        targets = set(re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        if not arguments or not set(arguments) <= targets:
            raise Unknown(f"no such make target: {command.line}")
    elif name == "pip":
        _check_pip(command, arguments)
    elif name == "venv":
        if len(arguments) != 1 or arguments[0].startswith("-"):
            raise Unknown(f"venv takes one folder: {command.line}")
    elif "--help" in arguments:
        main_help(str(command.config), arguments)
    elif command.config is not None:
        composed(command)
    elif command.target[0] != "tests.parity":
        raise Unknown(f"nothing to compose: {command.line}")


def _check_pip(command: Command, arguments: list[str]) -> None:
    pins = set((REPOSITORY / "constraints.txt").read_text(encoding="utf-8").split())
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for word in (w for w in arguments if "==" in w):
        if word not in pins:
            raise Unknown(f"{word} is not what constraints.txt pins: {command.line}")
    for extra in (e for w in arguments for found in re.findall(r"\[(.*)]", w) for e in found.split(",")):
        if not re.search(rf"^{re.escape(extra)} = \[", project, re.MULTILINE):
            raise Unknown(f"no such extra '{extra}': {command.line}")
    for option, file in itertools.pairwise(arguments):
        if option == "-c" and not (REPOSITORY / file).is_file():
            raise Unknown(f"no such file {file}: {command.line}")
