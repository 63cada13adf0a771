"""The published protocol: every row refuses to run without its files, in one line, and runs with them at toy size."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from hydra.utils import instantiate

from evaluate import evaluate
from hmu import app
from hmu.config import CONFIGS
from hmu.data.demo import generate
from hmu.errors import ConfigError
from hmu.evaluation.results import Results
from hmu.workflows.parts import build_evaluator
from tests.commands import Command, composed, of_header
from tests.conftest import REPOSITORY
from tests.workflows.toy import run
from train import train
from unlearn import unlearn

TASKS = {"train": train, "unlearn": unlearn, "evaluate": evaluate}
ROWS = sorted((CONFIGS / "experiment" / "hmu").glob("[!_]*.yaml"))
TABLES = sorted((CONFIGS / "published").glob("*.yaml"))
NUMBERS = re.compile(r"\d+\.\d+")


def command_of(path: Path) -> Command:
    """The first command of a row's file: the one that makes the row."""
    return of_header(path)[0]


def refusal(command: Command, capsys, *more: str) -> str:
    with pytest.raises(SystemExit) as left:
        run(str(command.config), TASKS[str(command.config)], *command.overrides, *more, "hydra/job_logging=none")
    assert left.value.code == app.EXIT_USER_ERROR
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    return line


@pytest.mark.parametrize("path", ROWS, ids=lambda p: p.stem)
def test_without_data_a_row_is_one_line(path, tmp_path, capsys):
    line = refusal(command_of(path), capsys, f"paths.root={tmp_path}")
    wanted = r"data set '(humanml3d|motion_x)': folder .* does not exist; .*hmu\.tools\.doctor"
    assert re.search(r"ckpt: .*mtrans' does not exist" if "original" in path.stem else wanted, line)
    assert not list(tmp_path.rglob("run.json"))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("published") / "HumanML3D"
    root.mkdir()
    generate(root, seed=0, clips=60)
    return root


@pytest.mark.parametrize("path", [p for p in ROWS if "reference" not in p.stem], ids=lambda p: p.stem)
def test_without_the_checkpoint_a_row_is_one_line(path, data, tmp_path, capsys):
    here = [f"paths.root={tmp_path}", f"dataset.root={data}", f"paths.cache={data.parent / 'cache'}"]
    line = refusal(command_of(path), capsys, *here, "backbone.text=null")
    assert str(Path("checkpoints")) in line
    assert "mtrans" in line


@pytest.mark.parametrize("choice", ["experiment=hmu/motion_x_violence_lcr16", "dataset=motion_x"])
def test_motion_x_never_guesses_an_evaluator(choice):
    """Neither the rows nor the data set: there is no public one."""
    (config,) = composed(Command(f"python unlearn.py {choice}", "here"))
    source = instantiate(config.dataset)
    with pytest.raises(ConfigError, match=r"evaluator\.checkpoint"):
        build_evaluator(config, source)


# -- figures -----------------------------------------------------------------------------------------------------------
def figures(table: dict, side: str) -> list[tuple[str, list[str]]]:
    """Rows as the page shows them: name, and the numbers digit by digit."""
    return [(row["name"], list(row[side].values())) for row in table["rows"]]


@pytest.mark.parametrize("path", TABLES, ids=lambda p: p.stem)
def test_the_document_shows_the_figures_and_the_command_of_every_row(path):
    table = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # strings: 4.50 is not 4.5
    text = (REPOSITORY / "docs" / "published.md").read_text(encoding="utf-8")
    section = text.split(f"## {table['title']}")[1].split("\n## ")[0]
    lines = section.splitlines()
    for side in ("forget", "retain"):
        for name, numbers in figures(table, side):
            assert f"| {name} | {' | '.join(numbers)} |" in lines
    for row in table["rows"]:
        assert f"experiment={row['experiment']}" in section
        assert (CONFIGS / "experiment" / f"{row['experiment']}.yaml").is_file()


@pytest.mark.parametrize("path", TABLES, ids=lambda p: p.stem)
def test_the_figures_are_those_of_the_page(path, shared):
    table = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    page = shared("seeds/004_hmu_project_page.md").read_text(encoding="utf-8").split("Violence Removal on ")
    part = next(p for p in page[1:] if p.startswith("HumanML3D\n\nPerf" if "humanml3d" in path.stem else "Motion-X\n"))
    found = [NUMBERS.findall(line) for line in part.split("Key Features")[0].splitlines()]
    typed = [numbers for side in ("forget", "retain") for _, numbers in figures(table, side)]
    assert [numbers for numbers in found if len(numbers) == 4] == typed


# -- a row at toy size -------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def files(data, tmp_path_factory) -> list[str]:
    """A tiny random MoMask and a small evaluator in the authors' layout where the rows look for them."""
    from tests.conftest import shared

    root = tmp_path_factory.mktemp("authors")
    shutil.copytree(shared("golden/hmu/dev/checkpoints/HumanML3D"), root / "checkpoints" / "HumanML3D")
    shutil.copytree(shared("checkpoints/evaluator/t2m"), root / "checkpoints" / "t2m")
    shutil.copytree(shared("checkpoints/evaluator/glove"), root / "glove")
    return [
        f"paths.root={root}",
        f"dataset.root={data}",
        f"paths.cache={data.parent / 'cache'}",
        f"backbone.text.name_or_folder={shared('checkpoints/clip-vit-base-patch32')}",
        "suite.limits={forget:3,retain:4}",
        "suite.repeats=2",
    ]


@pytest.mark.parametrize(
    "row", ["lcr16", *(pytest.param(row, marks=pytest.mark.slow) for row in ("uce", "rece", "finetune"))]
)
def test_a_row_runs_with_one_command(row, files, tmp_path):
    short = ["method.steps=1", "method.batch_size=2"] if row == "finetune" else []
    choice = f"experiment=hmu/humanml3d_violence_{row}"
    run("unlearn", unlearn, choice, *files, *short, "trainer=cpu", "logger=none", f"hydra.run.dir={tmp_path / row}")
    results = Results.load(tmp_path / row / "metrics.json")
    for model in ("base", "unlearned"):
        for side, metric in (("forget", "fid"), ("forget", "mm_safe_hmu"), ("retain", "r_precision_1")):
            assert results.get(model, side, metric) is not None
    assert json.loads((tmp_path / row / "run.json").read_text())["status"] == "complete"


def test_the_original_is_measured_alone(files, tmp_path):
    run("evaluate", evaluate, "experiment=hmu/humanml3d_violence_original", *files, f"hydra.run.dir={tmp_path / 'o'}")
    assert {row.model for row in Results.load(tmp_path / "o" / "metrics.json").rows} == {"base"}
