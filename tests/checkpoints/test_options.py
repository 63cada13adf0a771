"""The options that forks write into ``opt.txt``."""

from __future__ import annotations

import pytest

from hmu.checkpoints.opt import FOOTER, HEADER, read_opt, read_options
from hmu.errors import CheckpointError
from tests.parity.opt import read_upstream

GOOD = "n_heads: 6\ndropout: 0.1\nlr: 0.0002\nrecon_loss: l2\nvq_norm: None\n"


@pytest.fixture
def opt(tmp_path):
    def write(text: str | bytes, **encoding):
        path = tmp_path / "opt.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(**encoding))
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        GOOD.encode(),
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.encode("utf-16"),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace("\n", "\r").encode(),
        f"{HEADER}\n{GOOD}{FOOTER}\n".encode(),
        f"\ufeff{HEADER}\n{GOOD}{FOOTER}".encode(),
    ],
    ids=["plain", "mark", "utf16", "windows", "mac", "banner", "mark and banner"],
)
def test_every_way_of_writing_it_gives_the_same(opt, content):
    assert read_options(opt(content)) == {"n_heads": 6, "dropout": 0.1, "lr": 0.0002, "recon_loss": "l2"}


@pytest.mark.parametrize("nothing", ["None", "", " "])
def test_nothing_is_absent(opt, nothing):
    assert "n_heads" not in read_options(opt(f"n_heads: {nothing}\n"))


BAD = {
    "n_heads: six": "n_heads=six, expected a whole number from 1 to 256",
    "n_heads: 0": "n_heads=0",
    "n_heads: 1000000000": "n_heads=1000000000",
    "n_heads: -1e309": "n_heads=-inf",
    "n_heads: 1e-99999999": "n_heads=0.0",
    "n_heads: " + "1" * 5000: "n_heads=1{59}…",
    "n_heads: {{}}": "n_heads={{}}",
    "dropout: 2": "dropout=2, expected a number from 0 to 1",
    "dropout: nan": "dropout=nan",
    "cond_scale: True": "cond_scale=True",
    'max_motion_length: [1,2,"x"]': "max_motion_length=",
    "kinematic_chain: [1, 2]": "kinematic_chain=.*lists of joint numbers",
    "vae_name: ../../x": "vae_name=../../x, expected the name of a folder",
    "vq_act: mish": "vq_act=mish, expected one of relu, silu, gelu",
    "beta_start: 1": "beta_start=1, expected a number between 0 and 1",
    "loss_vel: much": "loss_vel=much",
    "no colon here": "line 1: expected 'key: value', found 'no colon here'",
    "x" * 5000: "line 1: expected 'key: value', found 'x{59}…'",
}


@pytest.mark.parametrize("line", BAD, ids=lambda line: line[:20])
def test_what_cannot_be_is_one_short_line(opt, line):
    path = opt(f"{line}\n")
    with pytest.raises(CheckpointError, match=BAD[line]) as error:
        read_options(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 250


def test_a_forks_own_loss_is_left_out_with_one_warning(opt, caplog):
    found = read_options(opt("recon_loss: huber\nlambda_foot: 0.3\nlambda_recon: 1.0\nlambda_kl: 0.02\n"))
    assert "recon_loss" not in found
    assert found["lambda_kl"] == 0.02
    (record,) = caplog.records
    assert "lambda_foot, recon_loss=huber" in record.getMessage()
    assert "lambda_recon" not in record.getMessage()


def test_what_nobody_needs_may_be_anything(opt):
    found = read_options(opt(f"milestones: {'1' * 6000}\ngpu_id: {{{{}}}}\nwhat_is_this: 1e400\n"))
    assert found["milestones"] == "1" * 6000
    assert found["gpu_id"] == "{{}}"


def test_a_repeated_key_counts_last_and_is_said(opt, caplog):
    assert read_options(opt("dropout: 0.1\nn_heads: 4\ndropout: 0.2\nn_heads: 4\n"))["dropout"] == 0.2
    assert [record.getMessage() for record in caplog.records] == [
        f"{opt('')}, line 3: 'dropout' is there again; the last value counts"
    ]


@pytest.mark.parametrize("unit", ["0", "four", "[4]"])
def test_the_authors_reading_divides_by_nothing(opt, unit):
    path = opt(f"checkpoints_dir: c\ndataset_name: t2m\nname: n\nunit_length: {unit}\n")
    with pytest.raises(CheckpointError, match=r"unit_length=.*whole number above 0"):
        read_upstream(path)


def test_a_pipe_and_a_folder_are_refused_at_once(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="no regular file"):
        read_opt(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_opt(tmp_path)
