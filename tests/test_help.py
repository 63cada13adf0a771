"""What ``--help`` says of every script and tool."""

from __future__ import annotations

import pytest

from hmu.config import CONFIGS
from hmu.errors import ConfigError
from hmu.help import main_help, options, show, summary

ROOTS = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


@pytest.mark.parametrize("root", ROOTS)
def test_help_fits_a_screen_and_says_what_how_and_which(root):
    text = main_help(root, ["--help"])
    lines = text.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 260
    assert lines[0].endswith((".", "?"))
    assert "Most used:" in lines
    used = lines[lines.index("Most used:") + 1 : lines.index("Examples:") - 1]
    assert any("=" in line for line in used)
    examples = [line for line in lines if line.startswith(("  python ", "  torchrun "))]
    assert 1 <= len(examples) <= 5


@pytest.mark.parametrize("root", ["unlearn", "evaluate", "train", "generate"])
def test_the_main_commands_name_five_options_and_five_examples(root):
    lines = main_help(root, []).splitlines()
    start = lines.index("Most used:") + 1
    named = [line for line in lines[start : lines.index("Examples:")] if line[2:3].isalpha()]
    assert len(named) == 5
    assert sum(line.startswith(("  python ", "  torchrun ")) for line in lines) == 5


def test_choices_of_a_group_are_the_public_ones_with_what_they_are():
    text = main_help("unlearn", ["--help", "method"])
    assert "Erase a concept by negative guidance" in text
    assert "_trained" not in text
    assert main_help("evaluate", ["--help", "metric"]).startswith("+metric@suite.metrics.<name>=\n  contact_share")
    assert "hmu/violence" in main_help("unlearn", ["--help", "concept"])
    with pytest.raises(ConfigError, match="no such group of choices here; there are dataset, backbone"):
        main_help("unlearn", ["--help", "methods"])


@pytest.mark.parametrize("group", sorted(path.name for path in CONFIGS.iterdir() if path.is_dir()))
def test_every_choice_says_what_it_is(group):
    if group in ("hydra", "paths"):
        pytest.skip("not chosen by users")
    for name in options(group):
        if not (CONFIGS / group / f"{name}.yaml").is_file():
            continue
        told = summary((CONFIGS / group / f"{name}.yaml").read_text(encoding="utf-8"))
        assert 3 <= len(told) <= 160, (group, name, told)


def test_only_who_asks_is_helped(capsys):
    assert not show("unlearn", ["method=esd"])
    assert show("unlearn", ["-h"])
    assert "unlearn.py" in capsys.readouterr().out
