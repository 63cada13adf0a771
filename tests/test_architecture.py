"""The floors of the house, read from the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

FLOORS = {
    "motion": 0,
    "data": 1,
    "text": 1,
    "gait": 1,
    "backbones": 2,
    "methods": 3,
    "evaluators": 3,
    "metrics": 4,
    "viz": 4,
    "training": 5,
    "evaluation": 6,
    "workflows": 7,
    "tools": 8,
}
SOURCES = sorted((REPOSITORY / "hmu").rglob("*.py"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hmu."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("hmu.")}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_lower_floors_know_nothing_of_upper_ones(path):
    own = path.relative_to(REPOSITORY / "hmu").parts[0]
    if own not in FLOORS:
        return
    above = {name for name in imports(path) if name in FLOORS and FLOORS[name] > FLOORS[own]}
    assert not above, f"{path} imports {above} from above"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_no_prints_and_no_unsafe_loading_in_the_library(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name != "print", f"{path}:{node.lineno} prints"
            if name == "torch.load":
                safe = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert safe.get("weights_only") == "True", f"{path}:{node.lineno} loads pickles unsafely"


def test_top_level_is_what_the_mission_fixed():
    allowed = {"configs", "hmu", "train.py", "unlearn.py", "evaluate.py", "tests", "outputs", "pyproject.toml"}
    allowed |= {"README.md", "docs", "benchmarks", "Makefile", "constraints.txt", "LICENSE", "CHANGELOG.md"}
    found = {p.name for p in REPOSITORY.iterdir() if not p.name.startswith(".") and not p.name.endswith(".egg-info")}
    assert found - allowed - {"data", "checkpoints", "build", "wandb"} == set()
