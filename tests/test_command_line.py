"""What people type arrives as they typed it, or is refused in one line that says how to write it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from hmu.command_line import quoted, understood
from hmu.compose import register_resolvers
from hmu.config import CONFIGS
from hmu.errors import ConfigError
from hmu.values import Keys, Place, Text


class Some(Keys):
    prompt: Text | Sequence[Text] | None
    label: Text | None
    out: Place
    edits: Place | Sequence[Place]
    seed: int


PEOPLE = [
    "a person kicks, then walks away", "a person's leg kicks", "He kicks!", "a person (old) kicks", "a person kicks#60",
    "speed=fast, kicks", "一个人踢腿", "человек бьёт ногой", "true", "1e3", "12", "nan", "2023-01-01", "", " ", "a  b ",
    "'tis", 'he says "go"', "\"go\" and 'stop'",
    "[old] man", "a [b], c", "{a: b}", "${oc.env:HOME}", "$5 ${", "a\\", "\\'",
    "~/x", "choice(a,b)", "range(1,3)", "glob(*)", "sort(a,b)", "50% & more; <b> | @ ^ ` ? *", "one\ntwo", "one\ttwo",
    "x" * 5000, "=", ",", "null and void", "@", "-m", "🙂 kicks",
]  # fmt: skip


def arrives(*words: str) -> object:
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("generate", overrides=understood(words, Some)).prompt


@pytest.mark.parametrize("text", PEOPLE, ids=lambda t: ascii(t)[:30])
def test_prompts_are_taken_literally(text):
    assert arrives(f"prompt={text}") == text


def test_any_text_arrives():
    draw, letters = random.Random(0), "ab '\"\\${},[]()=#!:~@%&*?<>|;\n\té一1.0"
    for _ in range(150):
        text = "x" + "".join(draw.choice(letters) for _ in range(draw.randint(0, 8)))
        assert arrives(f"prompt={text}") == text


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("prompt=null", None),
        ("prompt='a, b'", "a, b"),
        ('prompt="a, b"', "a, b"),
        ("prompt='a person\\'s leg'", "a person's leg"),
        ('prompt=["a, b",c]', ["a, b", "c"]),
        ("prompt=[a,b]", ["a", "b"]),
    ],
)
def test_what_is_quoted_or_listed_already_stays(word, value):
    assert arrives(word) == value
    assert arrives(*understood([word], Some)) == value, "reading it again changes nothing (processes that are started)"


@pytest.mark.parametrize("word", ["suite.metrics.fid.top=5", "suite.metrics.x={_target_: a.B}", "a.b=null"])
def test_a_key_is_added_whether_its_file_holds_it_or_not(word):
    """Version 0.2 has put numbers into files that commands of before add."""
    assert understood([f"+{word}"], Some) == [f"++{word}"] == understood([f"++{word}"], Some)


@pytest.mark.parametrize("word", ["+label=x", "+metric@suite.metrics.fid=fid", "~a.b", "a.b=1"])
def test_choices_and_whole_keys_are_added_as_typed(word):
    assert understood([word], Some) == [word]


def test_a_key_that_takes_one_text_takes_no_list():
    assert understood(["label=[a,b]"], Some) == ["label='[a,b]'"]
    assert understood(["out=[a,b]"], Some) == ["out=[a,b]"], "which its type refuses"


@pytest.mark.parametrize("value", ["outputs/sweeps/x/concept=kick,method=uce", "a b/c!", "run (2)", "1e3", "it's"])
def test_names_of_files_may_hold_anything(value):
    (word,) = understood([f"out={value}"], Some)
    assert OverridesParser.create().parse_override(word).value() == value
    assert understood(["out=${paths.output}/x"], Some) == ["out=${paths.output}/x"]


def test_a_file_that_is_there_is_quoted_wherever_it_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("concept=kick,method=uce").mkdir()
    word = "backbone.checkpoint=concept=kick,method=uce"
    assert understood([word], Some) == ["backbone.checkpoint='concept=kick,method=uce'"]
    assert understood(["hydra.run.dir=a=b"], Some) == ["hydra.run.dir='a=b'"]


def test_the_home_folder_is_found(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert understood(["out=~/x", "edits=[~/a:1,~/b:2]", "backbone.checkpoint=~/c", "prompt=~/x"], Some) == [
        "out=/home/me/x", "edits=[/home/me/a:1,/home/me/b:2]", "backbone.checkpoint=/home/me/c", "prompt='~/x'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=esd", "seed=0", "method=lora"], "method is given twice (method=esd and method=lora)"),
        (["text@backbone.text=clip", "text@backbone.text=mpnet"], "text@backbone.text is given twice"),
        (["concept=kick,wave"], "add -m to make a run of each"),
        (["seed=range(0,3)"], "add -m"),
        (["concept.keywords=[it's]"], "concept.keywords=['…','…']"),
        (["concept.anchor=a person's"], "concept.anchor='…'"),
        (["method.target=a(b"], "put single quotes around text"),
        (["edits=[a/concept=kick,method=uce:1.0]"], "edits=['…','…']"),
        (["outputs/sweeps/x"], "expected key=value"),
        (["prompt", "a person kicks"], "expected key=value"),
        (["dataset=null"], "dataset=null: expected one of "),
        (["backbone=5"], "momask_demo"),
        (["concept=[kick,wave]"], "expected one of bow, "),
        (["-m", "seed=0,1", "hydra.run.dir=x"], "hydra.sweep.dir=…"),
    ],
)
def test_what_cannot_be_read_says_how_to_write_it(words, said):
    with pytest.raises(ConfigError) as caught:
        understood(words, Some)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_sweeps():
    words = ["-m", "prompt=a,b", "seed=0,1", "concept=kick,wave"]
    assert understood(words, Some) == words, "with -m a comma separates"
    assert understood(["--multirun", "prompt=it's, well"], Some)[1] == "prompt='it\\'s, well'"
    assert understood(["-m", "prompt='a, b',c"], Some)[1] == "prompt='a, b',c"
    for flag in ("-m", "--multirun", "hydra.mode=MULTIRUN"):
        with pytest.raises(ConfigError, match="makes no sweeps"):
            understood([flag, "seed=0,1"], Some, sweeps=False)


def test_sweepers_words_stay():
    words = ["-m", "method=glob(u*)", "concept=choice(kick,wave)", "seed=shuffle(1,2)", "length=range(40,80,4)"]
    assert understood([*words, "callbacks=[a,b]"], Some) == [*words, "callbacks=[a,b]"]


def test_options_of_hydra_stay():
    words = ["--cfg", "job", "-cn", "other", "seed=1", "--help", "~label", "+new=1", "seed=1"]
    moved = ["--cfg", "job", "-cn", "other", "--help", "seed=1", "~label", "+new=1", "seed=1"]
    assert understood(words, Some) == moved  # in front: Hydra's own reader refuses options between settings


def test_of_a_value_given_twice_the_last_one_counts_as_in_scripts_that_add_to_a_command():
    assert understood(["seed=0", "method=esd", "seed=1", "method=esd"], Some)[::2] == ["seed=0", "seed=1"]


def test_quoting_can_be_undone():
    for text in PEOPLE:
        assert OverridesParser.create().parse_override(f"out={quoted(text)}").value() == text


def test_options_may_stand_anywhere_and_unknown_ones_are_said():
    words = ["concept=kick", "-m", "seed=0,1", "--package", "x"]
    assert understood(words, Keys) == ["-m", "--package", "x", "concept=kick", "seed=0,1"]
    for word, said in (("--foo", "no such option"), ("-x", "no such option"), ("--multirun=2", "takes no value")):
        with pytest.raises(ConfigError, match=f"{word}: .*{said}"):
            understood([word], Keys)


def test_sweeps_of_nothing_and_of_intervals_are_refused():
    for word, said in (
        ("concept=glob(x*)", "matches none of bow"),
        ("seed=glob(*)", "seed is no group of choices"),
        ("seed=interval(0,1)", r"seed=range\(0,1,0.25\)"),
    ):
        with pytest.raises(ConfigError, match=said):
            understood(["-m", word], Keys)
    assert understood(["-m", "concept=glob(k*)"], Keys) == ["-m", "concept=glob(k*)"]
