import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

from hmu.compose import register_resolvers
from hmu.config import CONFIGS, check_config
from hmu.errors import CheckpointError, ConfigError, DataError
from hmu.methods.edit import DeltaEdit
from hmu.motion.bvh import parse_bvh
from hmu.motion.skeleton import T2M
from hmu.outputs import LIST
from hmu.text.base import TextCondition
from hmu.tools import generate, prompts
from hmu.tools.prompts import Limits, asked_frames, fit_lengths, from_file, from_texts
from tests.methods.fake import FakeBackbone


class StubBackbone(FakeBackbone):
    """Stands still; the root's height says how long the prompt is, plus noise, plus the network's one weight."""

    name, features, fps = "stub", 263, 20.0

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.net.weight)

    def network(self):
        return self.net

    def encode_text(self, texts):
        sizes = torch.tensor([float(len(text)) for text in texts])
        return TextCondition(sizes[:, None, None], torch.ones(len(texts), 1, dtype=torch.bool))

    def sample(self, condition, lengths, *, guidance=None, generator=None, steps=None):
        motion = torch.zeros(len(lengths), int(lengths.max()), self.features)
        for row, n in enumerate(lengths.tolist()):
            motion[row, :n, 3] = condition.tokens[row, 0, 0] + self.net.weight[0, 0]
            motion[row, :n, 4:67] = 0.3 * torch.randn(63, generator=generator)
        return motion


def config(tmp_path, **changes):
    plain = OmegaConf.load(CONFIGS / "generate.yaml")
    for key in ("defaults", "hydra"):
        plain.pop(key)
    plain.backbone = {"_target_": "tests.tools.test_generate.StubBackbone"}
    return OmegaConf.merge(plain, {"out": str(tmp_path / "out"), "animation": "none", "device": "cpu", **changes})


def heights(folder, records):
    return [float(np.load(folder / r["files"]["features"])[0, 3]) for r in records]


def test_writes_everything_it_lists(tmp_path):
    records = generate.run(
        config(tmp_path, prompt="a person kicks", repeats=2, length=41, animation="gif", bvh="exact")
    )
    out = tmp_path / "out"
    assert json.loads((out / "records.json").read_text()) == records
    assert [(r["repeat"], r["seed"], r["length"]) for r in records] == [(0, 0, 40), (1, 1, 40)]
    listed = {file for record in records for file in record["files"].values()}
    found = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert found == listed | {"records.json", LIST}
    files = records[0]["files"]
    assert np.load(out / files["features"]).shape == (40, 263)
    assert np.load(out / files["joints"]).shape == (40, 22, 3)
    assert np.load(out / files["joints"]).dtype == np.float32
    with Image.open(out / files["animation"]) as image:
        assert image.n_frames == 40
    bvh, joints = parse_bvh((out / files["bvh"]).read_bytes()), np.load(out / files["joints"])
    again = bvh.joints()[:, [bvh.names.index(name) for name in T2M.joint_names]] / 100
    assert np.abs(again - joints).max() < 1e-3  # metres


def test_lengths_of_a_file_are_all_honoured(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("walk#80\n\nkick #4.5s\njump\nrun#196", encoding="utf-8")
    records = generate.run(config(tmp_path, prompts=str(path), length=60, batch_size=2))
    assert [(r["prompt"], r["length"]) for r in records] == [("walk", 80), ("kick", 88), ("jump", 60), ("run", 196)]
    assert heights(tmp_path / "out", records) == [4, 4, 4, 3]
    for record in records:
        assert len(np.load(tmp_path / "out" / record["files"]["features"])) == record["length"]


def test_result_does_not_depend_on_the_batch_size_but_on_the_seed(tmp_path):
    def motions(name, **changes):
        made = generate.run(config(tmp_path, prompt=["a", "bb", "ccc"], out=str(tmp_path / name), **changes))
        return [np.load(tmp_path / name / r["files"]["features"]) for r in made]

    first, second, other = motions("a", batch_size=1), motions("b", batch_size=3), motions("c", seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_edits_act_with_their_strength_and_are_recorded(tmp_path):
    DeltaEdit({"weight": torch.full((1, 1), 2.0)}, method="esd", concept="kick").save(tmp_path / "edit")
    records = generate.run(config(tmp_path, prompt="kick", edits=[f"{tmp_path / 'edit'}:0.5", str(tmp_path / "edit")]))
    assert heights(tmp_path / "out", records) == [4 + 0.5 * 2 + 2]
    assert [edit["scale"] for edit in records[0]["edits"]] == [0.5, 1.0]
    assert records[0]["edits"][0]["concept"] == "kick"
    with pytest.raises(CheckpointError):
        generate.run(config(tmp_path, prompt="kick", edits=[str(tmp_path / "none")], out=str(tmp_path / "new")))
    assert not (tmp_path / "new").exists()


def test_existing_folder_is_kept_unless_told(tmp_path):
    out = tmp_path / "out"
    generate.run(config(tmp_path, prompt="kick", repeats=2))
    before = (out / "records.json").read_bytes()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"not empty.*nothing was changed"):
        generate.run(config(tmp_path, prompt="walk"))
    with pytest.raises(ConfigError, match="cannot be generated"):
        generate.run(config(tmp_path, prompt="walk", length=10, overwrite=True))
    assert (out / "records.json").read_bytes() == before
    records = generate.run(config(tmp_path, prompt="walk", overwrite=True))
    assert len(list((out / "features").iterdir())) == 1 == len(records)
    assert (out / "notes.txt").read_text() == "mine"


def test_foreign_or_damaged_folders_are_never_cleared(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("x")
    with pytest.raises(ConfigError, match="did not write"):
        generate.run(config(tmp_path, prompt="walk", overwrite=True))
    (out / "records.json").write_text('{"a": 1}')
    with pytest.raises(ConfigError, match="damaged"):
        generate.run(config(tmp_path, prompt="walk", overwrite=True))
    (out / "records.json").write_text(json.dumps([{"files": {"x": "../outside.npy"}}]))
    (tmp_path / "outside.npy").write_text("keep")
    generate.run(config(tmp_path, prompt="walk", overwrite=True))
    assert (tmp_path / "outside.npy").exists()
    with pytest.raises(ConfigError, match="is a file"):
        generate.run(config(tmp_path, prompt="walk", out=str(tmp_path / "outside.npy")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "none of them"),
        ({"prompt": "a", "split": "test"}, "prompt= and split="),
        ({"prompt": "a", "length": 40, "seconds": 2}, "only one"),
        ({"prompt": "a", "length": 39}, "39 frames.*40 to 196 frames"),
        ({"prompt": "a", "seconds": 10}, "200 frames.*40 to 196 frames"),
        ({"prompt": "a", "seconds": 0.001}, "0 frames.*40 to 196 frames"),
        ({"prompt": "a", "repeats": 10**8}, "repeats=100000000: 100,000,000 motions need 15,792.0 GB"),
        ({"prompt": "a", "device": "tpu"}, "auto, cpu or cuda"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        generate.run(config(tmp_path, **changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="device=cuda cannot be used here"):
        generate.run(config(tmp_path, prompt="a", device="cuda"))


@pytest.mark.parametrize("line", ["kick#", "kick#fast", "kick #1 or two", "kick#-4"])
def test_bad_lines_are_named(tmp_path, line):
    path = tmp_path / "p.txt"
    path.write_text(f"walk#80\n{line}\n")
    with pytest.raises(DataError, match="line 2"):
        from_file(str(path), 20.0)


def test_unreadable_prompt_files(tmp_path):
    path = tmp_path / "p.txt"
    for content, message in ((b"\n \n", "no prompt"), (b"\xe4bc", "UTF-8")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            from_file(str(path), 20.0)
    with pytest.raises(DataError, match="cannot be read"):
        from_file(str(tmp_path / "q.txt"), 20.0)


def test_prompts_of_a_windows_editor_of_standard_input_and_behind_an_at(tmp_path, monkeypatch):
    path = tmp_path / "p.txt"
    path.write_bytes("踢腿\r\nkick#80\r\n".encode("utf-16"))
    expected = [("踢腿", None), ("kick", 80)]
    assert [(i.prompt, i.frames) for i in from_file(str(path), 20.0)] == expected
    assert [(i.prompt, i.frames) for i in from_texts(f"@{path}", 20.0)] == expected
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"walk\n\nkick#4.5s")))
    assert [(i.prompt, i.frames) for i in from_file("-", 20.0)] == [("walk", None), ("kick", 90)]


def test_a_prompt_on_the_command_line_is_taken_literally():
    texts = ["a person kicks#60", "@", "1e3", "", "one\ntwo", "x" * 5000]
    assert [item.prompt for item in from_texts(texts, 20.0)] == texts
    with pytest.raises(ConfigError, match="not UTF-8"):
        from_texts("kick \udce4", 20.0)


def test_a_single_edit_needs_no_brackets(tmp_path):
    DeltaEdit({"weight": torch.full((1, 1), 2.0)}, method="esd", concept="kick").save(tmp_path / "a=b,c" / "edit")
    for edits, height in ((str(tmp_path / "a=b,c"), 6.0), (f"{tmp_path / 'a=b,c'}/:0.5", 5.0)):
        records = generate.run(config(tmp_path, prompt="kick", edits=edits, out=str(tmp_path / f"{height}")))
        assert heights(tmp_path / f"{height}", records) == [height]
    with pytest.raises(ConfigError, match="strength nan"):
        generate.run(config(tmp_path, prompt="kick", edits=f"{tmp_path / 'a=b,c'}:nan"))
    assert not (tmp_path / "out").exists()


def test_length_rules(caplog):
    limits = Limits(20.0, 4, 40, 196)
    with caplog.at_level("INFO"):
        assert fit_lengths(from_texts(["a", "b"], 20.0), 63, limits) == [64, 64]
    assert "63 to 64" in caplog.text
    assert fit_lengths(from_texts("a", 20.0), None, limits) == [120]
    assert Limits(20.0, 4, 41, 198).fit(41, "x") == 44
    assert Limits(20.0, 4, 41, 198).fit(198, "x") == 196
    assert asked_frames(None, 2.5, 12.5) == 31
    assert asked_frames(None, None, 20.0) is None


def test_names_are_unique_and_safe():
    jobs = [prompts.Job(item, i, 0, 40) for i, item in enumerate(from_texts(["a/b: ü?", "", "a" * 90], 20.0))]
    assert [job.stem for job in jobs] == ["0000-a-b-r0", "0001-unconditional-r0", f"0002-{'a' * 40}-r0"]


class StubClips:
    ids = ("000001", "000002#1")
    lengths = (30, 150)

    def caption(self, index, which):
        from hmu.data.captions import Caption

        return Caption(("he walks", "he kicks")[index])


class StubSource:
    name, features = "stub", 263

    def clips(self, split):
        assert split == "test"
        return StubClips()


def test_split(tmp_path):
    source = {"_target_": "tests.tools.test_generate.StubSource"}
    records = generate.run(config(tmp_path, split="test", dataset=source))
    assert [(r["name"], r["prompt"], r["length"]) for r in records] == [
        ("000001", "he walks", 40),
        ("000002#1", "he kicks", 152),
    ]
    fixed = config(tmp_path, split="test", dataset=source, out=str(tmp_path / "b"), length=80, limit=1)
    assert [r["length"] for r in generate.run(fixed)] == [80]


def test_shipped_configuration_composes():
    register_resolvers()
    with initialize_config_dir(str(Path(CONFIGS)), version_base="1.3"):
        composed = compose("generate", overrides=["prompt=a person kicks", "edits=[a/b:1.0,c:0.5]", "paths.root=x"])
    assert list(composed.edits) == ["a/b:1.0", "c:0.5"]
    check_config(composed, keys=generate.Keys)
