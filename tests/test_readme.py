"""Nothing in the README, nor in the headers of the configuration files, may name what does not exist."""

from __future__ import annotations

import re

import pytest
from hydra.errors import HydraException

import hmu
from hmu.config import CONFIGS
from hmu.errors import ConfigError
from tests.commands import Command, Unknown, check, of_header, of_readme
from tests.conftest import REPOSITORY

README = REPOSITORY / "README.md"
HEADERS = sorted(p for p in CONFIGS.rglob("*.yaml") if p.parent.name != "hydra")
SHOWN = of_readme(README) + [command for path in HEADERS for command in of_header(path)]
ONCE = list({command.line: command for command in reversed(SHOWN)}.values())[::-1]


@pytest.mark.parametrize("command", ONCE, ids=lambda c: f"{c.origin} {c.line[:60]}")
def test_command_composes(command):
    check(command)


def test_the_readme_shows_the_commands_that_it_must():
    lines = [command.line for command in of_readme(README)]
    assert {"make demo", "make test"} <= set(lines)
    assert any(line.startswith("python unlearn.py dataset=humanml3d") for line in lines)  # written inline
    assert any(command.sweeps for command in of_readme(README))
    assert len(lines) >= 12


@pytest.mark.parametrize("path", HEADERS, ids=lambda p: p.relative_to(CONFIGS).as_posix())
def test_every_configuration_file_shows_a_command(path):
    assert of_header(path), f"{path.name} starts without the exact command that uses it"


@pytest.mark.parametrize(
    "line",
    [
        "make demos",
        "pyton unlearn.py",
        "python unlern.py",
        "python -m hmu.tools.generat prompt=x",
        "python unlearn.py metod=esd",
        "python unlearn.py method=esdd",
        "python unlearn.py concept=kik",
        "python unlearn.py method=esd method.etaa=1",
        "python unlearn.py method=esd +method.etaa=1",
        "python unlearn.py concept=kick,wave",
        "python unlearn.py -m method=lora concept=kick method.rank=4,8 method.lambda=1,2",
        "python unlearn.py -m method=lora,lara concept=kick",
        "python evaluate.py suite=full",
        "python evaluate.py ckpt=<run folder> suit=full",
        "python -m hmu.tools.doctor datset=humanml3d",
        "torchrun --nproc_per_nod 2 unlearn.py trainer=ddp_cpu",
        "torchrun --nproc-per-node 2 unlearn.py trainer=ddp_cpuu",
        "python -m pip install torch==0.0.1",
        'python -m pip install -e ".[al]"',
        "python -m pip install -c constraint.txt -e .",
    ],
)
def test_a_typo_is_found(line):
    with pytest.raises((Unknown, HydraException, ConfigError)):
        check(Command(line, "here"))


def test_choices_in_the_readmes_table_exist():
    rows = re.findall(r"^\| `([\w@.]+)=` \|(.*)\|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    named = {(group, name) for group, cell in rows for span in re.findall(r"`([^`]+)`", cell) for name in span.split()}
    assert {group for group, _ in named} >= {"backbone", "method", "concept", "dataset", "suite", "logger"}
    absent = [f"{group}={name}" for group, name in sorted(named) if not (CONFIGS / group / f"{name}.yaml").is_file()]
    assert not absent


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"]\(([^)#\s]+)", README.read_text(encoding="utf-8"))
    assert links
    absent = [link for link in links if "://" not in link and not (REPOSITORY / link).exists()]
    assert not absent


def test_commands_are_cut_out_of_their_prose():
    header = CONFIGS / "trainer" / "ddp.yaml"
    assert [command.line for command in of_header(header)] == [
        "torchrun --nproc-per-node 2 unlearn.py trainer=ddp",
        "python unlearn.py trainer=ddp trainer.devices=2",
    ]
    (line,) = {c.line for c in of_header(CONFIGS / "evaluator" / "demo.yaml") if "train.py" in c.line}
    assert line == "python train.py evaluator=demo dataset=demo"


def test_the_changelog_begins_with_this_version():
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(.*?)\]", text, re.MULTILINE)[0] == hmu.__version__
