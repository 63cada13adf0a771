"""Long takes become clips that a data set reads."""

from __future__ import annotations

import pytest

from hmu.data.captions import Caption
from hmu.tools.importing.collection import windows

WHOLE = Caption("walks", ("walk/VERB",))


@pytest.mark.parametrize("frames", [2, 40, 196, 199])
def test_a_take_that_is_read_stays_whole_with_its_times(frames):
    lines = [WHOLE, Caption("kicks", ("kick/VERB",), 1.0, 2.0)]
    (window,) = windows(frames, lines, 20.0)
    assert (window.start, window.stop, list(window.lines)) == (0, frames, lines)


@pytest.mark.parametrize("frames", [200, 392, 393, 1780, 5000])
def test_windows_hold_every_frame_once_and_are_all_read(frames):
    cut = windows(frames, [WHOLE], 20.0)
    assert [w.start for w in cut] == [0, *(w.stop for w in cut[:-1])]
    assert cut[-1].stop == frames
    assert all(98 <= w.stop - w.start <= 196 for w in cut)
    assert all(w.lines == (WHOLE,) for w in cut)


def test_a_stride_makes_them_overlap():
    cut = windows(500, [WHOLE], 20.0, stride=98)
    assert [(w.start, w.stop) for w in cut] == [(0, 196), (98, 294), (196, 392), (294, 490), (304, 500)]


def test_captions_with_times_make_clips_of_their_own():
    lines = [
        Caption("waves", ("wave/VERB",), 10.0, 15.0),
        Caption("greets", ("greet/VERB",), 10.0, 15.0),
        Caption("runs", ("run/VERB",), 20.0, 40.0),
        Caption("sits", ("sit/VERB",), 85.0, 0.0),
        Caption("nothing", ("nothing/PRON",), 95.0, 99.0),
    ]
    cut = windows(1780, lines, 20.0)
    assert [(w.start, w.stop) for w in cut] == [(200, 300), (400, 533), (533, 667), (667, 800), (1700, 1780)]
    assert [line.text for line in cut[0].lines] == ["waves", "greets"]
    assert all(line.start == line.end == 0.0 for w in cut for line in w.lines)
    assert [w.lines[0].text for w in cut[1:]] == ["runs", "runs", "runs", "sits"]
