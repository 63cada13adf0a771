"""Captions as people save them: read whole, or refused with the line and what to do."""

from __future__ import annotations

import pytest

from hmu.data.captions import Caption
from hmu.data.tagger import tagged
from hmu.errors import DataError
from hmu.tools.importing.sources import read_captions, read_splits, read_texts

GOOD = 'file,caption1,caption2\nwalk.bvh,a person walks,"a man walks, slowly"\nkick.bvh,"he says ""ha"" and kicks",\n'
EXPECTED = {"walk": ["a person walks", "a man walks, slowly"], "kick": ['he says "ha" and kicks']}


def written(caption: Caption) -> str:
    """The text, with the times where there are any."""
    assert not caption.tokens
    return caption.text + (f"#{caption.start:g}#{caption.end:g}" if caption.start or caption.end else "")


@pytest.fixture
def read(tmp_path):
    def reader(content: str | bytes) -> dict[str, list[str]]:
        path = tmp_path / "captions.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return {file: list(map(written, captions)) for file, captions in read_captions(path).items()}

    return reader


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.encode("utf-8-sig"),
        GOOD.encode("utf-16"),
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD.rstrip("\n"),
        GOOD.replace(",caption", ";caption").replace("bvh,", "bvh;").replace("walks,\"", 'walks;"').replace('",', '";'),
        "sep=,\n" + GOOD,
        GOOD.replace("file", " File ").replace("caption1", "Caption 1"),
        GOOD.replace("slowly", "slowly  ").replace("walk.bvh", " clips\\walk "),
        GOOD + "\n,,\n\n",
        GOOD + "silent.bvh,,\n",
    ],
)  # fmt: skip
def test_tables_as_programs_save_them(read, content):
    assert {k.rpartition("/")[2]: v for k, v in read(content).items()} == EXPECTED


def test_rows_of_one_file_add_up_and_line_ends_inside_quotes_become_blanks(read):
    assert read('file,caption\na,he\nb,x\na.bvh,"she\nruns #fast"\n') == {"a": ["he", "she runs fast"], "b": ["x"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,caption\na,x\nb,a person walks, then kicks\n", "line 3: 3 values for 2 columns.*double quotes"),
        ("file,caption1,caption2\na,a person walks, then kicks\n", "line 2: .*cut off at a comma"),
        ("file,caption,caption\na,x,y\n", "'caption' appears twice"),
        ("file,file,caption\na,b,y\n", "'file' appears twice"),
        ('file,caption\na,"a person walks\nb,a person kicks\n', "line 2: .*double quotes"),
        ('file,caption\nx,y\na,"walks\nb,"kicks"\n', "line 3: .*double quotes"),
        ('file,caption\na,"walks\nb.bvh,kicks"\nc,d\n', "line 2: a quote is not closed"),
        ("caption\na person walks\n", "expected columns 'file'"),
        ("file,text\na,b\n", "expected columns 'file' and 'caption1'"),
        ("", "expected columns"),
        ("file,caption\na,\n", "holds no captions"),
        ("file,caption\na,x\n,y\n", "line 3: a caption without a file"),
        ("file,caption,start,end\na,x,2,1\n", "line 2: expected 0 <= start < end"),
        ("file,caption,start,end\na,x,soon,1\n", "line 2: start and end are seconds"),
        ("file,caption\na,Gr\u00fc\u00dfe\n".encode("latin-1"), "line 2 is not UTF-8"),
        ("file,caption\na,x\n".encode("utf-16-le"), "zero bytes"),
        (b"[" * 3000 + b",\n", "expected columns"),
    ],
)
def test_tables_that_cannot_be_right_are_refused_in_one_line(read, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(content)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_times_of_a_part(read):
    table = "file;caption;start;end\na;he waves;2,5;10\na;he kicks;12;\na;he walks;;\nb;she #1 sits#1.5#3;;\n"
    assert read(table) == {"a": ["he waves#2.5#10", "he kicks#12#0", "he walks"], "b": ["she 1 sits#1.5#3"]}
    assert read("file,caption\na,he waves#he/PRON wave/VERB#2.0#4.0\n") == {"a": ["he waves#2#4"]}
    own = "file,caption1,caption2,start,end\na,he waves#2#4,he walks,1,9\n"
    assert read(own) == {"a": ["he waves#2#4", "he walks#1#9"]}
    assert str(tagged(Caption("he waves"))) == "he waves#he/PRON wave/VERB#0.0#0.0"


def test_texts_are_checked_line_by_line(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("\ufeffhe waves#he/PRON wave/VERB#0.0#nan\n\nx#y#1#2\n", encoding="utf-8")
    lines = read_texts(tmp_path)["sub/a"]
    assert lines == [Caption("he waves", ("he/PRON", "wave/VERB")), Caption("x", ("y",), 1.0, 2.0)]
    for bad in ("he waves", "a#b#0", "a#b#c#d", "a#b#0#inf", "a#b#0#0#0"):
        (tmp_path / "sub" / "a.txt").write_text(bad)
        with pytest.raises(DataError, match=r"a\.txt line 1 is not"):
            read_texts(tmp_path)


def test_lists_name_takes_or_windows(tmp_path):
    clips = {"take": ["take_w01", "take_w02"], "take_w01": ["take_w01"], "take_w02": ["take_w02"], "b": ["b"]}
    (tmp_path / "train.txt").write_text("\ufefftake\nabsent\n", encoding="utf-8")
    (tmp_path / "test.txt").write_text("b\n")
    assert read_splits(tmp_path, clips) == ({"train": ["take_w01", "take_w02"], "val": [], "test": ["b"]}, 1)
    (tmp_path / "test.txt").write_text("take_w02\n")
    with pytest.raises(DataError, match="'take_w02' is listed twice"):
        read_splits(tmp_path, clips)
