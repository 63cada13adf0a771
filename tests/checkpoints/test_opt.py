import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.checkpoints.opt import parse_value, read_opt
from hmu.errors import CheckpointError
from tests.checkpoints.opt_file import write_opt
from tests.conftest import shared
from tests.parity.opt import check_opt


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-06", 1e-6),
        ("2e-05 ", 2e-5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-3", -3),
        ("[7, 10]", [7, 10]),
        ("[[0, 2], [1]]", [[0, 2], [1]]),
        ("None", None),
        ("True", True),
        ("false", "false"),
        ("", ""),
        ("--3", "--3"),
        ("²", "²"),
        ("[oops", "[oops"),
        ("./checkpoints", "./checkpoints"),
        ("2024-02-14", "2024-02-14"),
        ("inf", float("inf")),
    ],
)
def test_clean_values(text, value):
    ours = parse_value(text)
    assert ours == value
    assert type(ours) is type(value)


@settings(max_examples=50, deadline=None)
@given(st.one_of(st.booleans(), st.none(), st.integers(), st.floats(allow_nan=False), st.lists(st.integers())))
def test_clean_reads_back_what_str_writes(value):
    ours = parse_value(str(value))
    assert ours == value
    assert type(ours) is type(value)


def test_write_then_read(tmp_path):
    options = {"name": "x", "weight_decay": 1e-6, "milestones": [1, 2], "flag": False, "note": "a: b", "gone": None}
    write_opt(tmp_path / "opt.txt", options)
    assert read_opt(tmp_path / "opt.txt") == options
    lines = (tmp_path / "opt.txt").read_text().splitlines()
    assert lines[0].startswith("---")
    assert lines[1:-1] == sorted(lines[1:-1])
    with pytest.raises(CheckpointError, match="one 'key: value' line"):
        write_opt(tmp_path / "opt.txt", {"a": "1\n2"})


def test_no_banners_blank_lines_and_crlf_are_fine_in_clean(tmp_path):
    (tmp_path / "opt.txt").write_bytes(b"a: 1\r\n\r\nb: two words\r\n")
    assert read_opt(tmp_path / "opt.txt") == {"a": 1, "b": "two words"}


@pytest.mark.parametrize("line", ["abc:1", "nothing", ": 3"])
def test_bad_line_is_named_with_its_number(tmp_path, line):
    (tmp_path / "opt.txt").write_text(f"a: 1\n{line}\n")
    with pytest.raises(CheckpointError, match=r"opt\.txt, line 2"):
        read_opt(tmp_path / "opt.txt")


def test_missing_and_binary(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        read_opt(tmp_path / "opt.txt")
    (tmp_path / "opt.txt").write_bytes(b"PK\x03\x04\xff\x80")
    with pytest.raises(CheckpointError, match="save it as UTF-8"):
        read_opt(tmp_path / "opt.txt")


def test_golden_options():
    checks = list(check_opt(shared("golden/hmu/dev/opt")))
    assert len(checks) > 40
    assert [check.name for check in checks if not check.passed] == []


def test_corrupted_expectation_fails(tmp_path):
    folder = tmp_path / "opt"
    shutil.copytree(shared("golden/hmu/dev/opt"), folder)
    path = folder / "expected.json"
    path.chmod(0o644)
    expected = json.loads(path.read_text())
    expected["values"]["3"]["type"] = "float"
    expected["whole_files"]["kit.opt.txt"]["result"]["ok"]["dim_pose"]["value"] = 263
    path.write_text(json.dumps(expected))
    folder.chmod(0o755)
    (folder / "new.opt.txt").write_text("a: 1\n")
    failed = {check.name for check in check_opt(folder) if not check.passed}
    assert failed == {"value '3'", "file kit.opt.txt"}
