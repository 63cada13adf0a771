"""The floors of the house, read from the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import rooms
from tests.conftest import REPOSITORY

#: from the ground up; what stands on one floor may know each other, but in no circle
HOUSE = (
    "errors escaping moved tree values bar keys",
    "checks config_source config_types contract debug devices documents durations english processes refusals",
    "build checkpoints optimisation overrides",
    "config command_line folders outputs",
    "help compose run stopping",
    "phases progress console",
    "motion",
    "data text",
    "gait",
    "backbones",
    "methods evaluators",
    "metrics viz",
    "training",
    "evaluation",
    "report",
    "app workflows",
    "tools",
)
FLOORS = {name: floor for floor, names in enumerate(HOUSE) for name in names.split()}
#: circles that are left to be taken apart: the list shrinks, and says what there is
CIRCLES: list[list[str]] = []
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
    own = path.relative_to(REPOSITORY / "hmu").parts[0].removesuffix(".py")
    if own == "__init__":
        return
    assert own in FLOORS, f"{own} stands on no floor: give it one in HOUSE"
    above = {name for name in imports(path) if name in FLOORS and FLOORS[name] > FLOORS[own]}
    assert not above, f"{path} imports {above} from above"


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Without its docstring: shapes, units and errors are no reason to split it."""
    docstring = ast.get_docstring(function, clean=False)
    of_docstring = docstring.count("\n") + 1 if docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - of_docstring


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 300
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert not [f"{f.name}: {lines_of(f)} lines" for f in functions if lines_of(f) > 40]


def test_nothing_imports_in_a_circle():
    """At the top of modules, inside functions, and for type checkers only."""
    assert rooms.circles() == CIRCLES


def test_a_circle_of_any_kind_is_seen(tmp_path, monkeypatch):
    (tmp_path / "hmu").mkdir()
    (tmp_path / "hmu" / "a.py").write_text("def f():\n    from hmu import b\n")
    (tmp_path / "hmu" / "b.py").write_text("if TYPE_CHECKING:\n    from hmu.c import x\n")
    (tmp_path / "hmu" / "c.py").write_text("import hmu.a\nimport os\n")
    (tmp_path / "hmu" / "d.py").write_text("import hmu.a\n")
    monkeypatch.setattr(rooms, "REPOSITORY", tmp_path)
    for cached in (rooms.modules, rooms.imports):
        monkeypatch.setattr(rooms, cached.__name__, cached.__wrapped__)
    assert rooms.circles() == [["hmu.a", "hmu.b", "hmu.c"]]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_no_prints_and_no_unsafe_loading_in_the_library(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name != "print", f"{path}:{node.lineno} prints"
            if name == "torch.load":
                safe = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert safe.get("weights_only") == "True", f"{path}:{node.lineno} loads pickles unsafely"


#: what turns names into code, and who may use it
DOORS = {
    "hydra.utils": ["build.py"],
    "import_module": [
        "config_source.py",
        "metrics/declared.py",  # modules of our own package, as below
        "motion/detectors/__init__.py",
        "text/stored.py",
        "tools/parity.py",
    ],
    "OmegaConf.load": [],
    "yaml.safe_load": [],
    "yaml.load": [],
    "yaml.unsafe_load": [],
    "yaml.full_load": [],
    "pickle.load": [],
    "pickle.loads": [],
    "eval": [],
    "exec": [],
    "os.system": [],
    "torch.hub.load": [],
    "torch.jit.load": [],
}


BUILT_IN = ("eval", "exec")  # modules have methods of these names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_names_become_code_in_few_places(path):
    """``docs/security.md``: everything that a configuration names is built by ``hmu/build.py``."""
    own = path.relative_to(REPOSITORY / "hmu").as_posix()
    used = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            used |= {door for door in DOORS if name == door or (door not in BUILT_IN and name.endswith(f".{door}"))}
            given = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if name.endswith(".from_pretrained"):
                assert given.get("trust_remote_code") == "False", (
                    f"{path}:{node.lineno} may run code of a model's folder"
                )
            assert given.get("allow_pickle", "False") == "False", f"{path}:{node.lineno} reads pickles"
            assert given.get("shell", "False") == "False", f"{path}:{node.lineno} starts a shell"
        elif isinstance(node, ast.ImportFrom) and node.module == "hydra.utils":
            used.add("hydra.utils")
        elif isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names if alias.name in DOORS}
    wrong = [door for door in used if not any(own.startswith(place) for place in DOORS[door])]
    assert not wrong, f"{path} uses {wrong}: see docs/security.md"


def test_top_level_is_what_the_mission_fixed():
    allowed = {"configs", "hmu", "train.py", "unlearn.py", "evaluate.py", "tests", "outputs", "pyproject.toml"}
    allowed |= {"README.md", "docs", "benchmarks", "Makefile", "constraints.txt", "LICENSE", "CHANGELOG.md"}
    found = {p.name for p in REPOSITORY.iterdir() if not p.name.startswith(".") and not p.name.endswith(".egg-info")}
    assert found - allowed - {"data", "checkpoints", "build", "wandb"} == set()


FAMILIES = ("salad", "momask", "bamm", "gaitdynamics")


@pytest.mark.parametrize("family", [*FAMILIES, "tokens"])
def test_families_of_backbones_know_nothing_of_each_other(family):
    """What two of them share lives beside them: MoMask's and BAMM's common base is ``tokens``."""
    others = tuple(f"hmu.backbones.{name}" for name in FAMILIES if name != family)
    for name in (name for name in rooms.modules() if name.startswith(f"hmu.backbones.{family}")):
        strangers = {other for other in rooms.imports(name) if f"{other}.".startswith(tuple(f"{o}." for o in others))}
        assert not strangers, f"{name} imports {strangers}"
