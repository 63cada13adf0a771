"""The stamp that torchrun's processes agree on lies where nobody else can put or lead it."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from hmu.errors import ConfigError
from hmu.processes import agree_on

STAMP, OTHER = "2026-01-02_03-04-05-678901", "2026-01-02_03-04-06-000001"
pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows gives every user a temporary folder")


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def private(temporary: Path) -> Path:
    return temporary / f"hmu-{os.getuid()}"


def test_the_first_process_decides(temporary):
    assert agree_on(STAMP) == STAMP
    assert agree_on(OTHER) == STAMP
    assert stat.S_IMODE(private(temporary).stat().st_mode) == 0o700


def test_an_old_file_of_a_process_id_used_again_is_replaced(temporary):
    agree_on(STAMP)
    (left,) = private(temporary).iterdir()
    os.utime(left, (0, 0))
    assert agree_on(OTHER) == OTHER


def test_a_link_in_place_of_the_folder_is_not_followed(temporary):
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    private(temporary).symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="no private folder of yours"):
        agree_on(STAMP)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o705])
def test_a_folder_that_others_can_use_is_refused(temporary, mode):
    private(temporary).mkdir()
    private(temporary).chmod(mode)
    with pytest.raises(ConfigError, match="no private folder of yours"):
        agree_on(STAMP)


def test_a_file_in_place_of_the_folder_is_refused(temporary):
    private(temporary).write_text("x")
    with pytest.raises(ConfigError, match="no private folder of yours"):
        agree_on(STAMP)


def test_what_is_no_stamp_names_no_folder(temporary):
    agree_on(STAMP)
    (left,) = private(temporary).iterdir()
    left.write_text("../../elsewhere")
    with pytest.raises(ConfigError, match="no time stamp"):
        agree_on(OTHER)
