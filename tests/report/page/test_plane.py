"""Names in the plane: they stay inside and cover neither each other nor the edges."""

from __future__ import annotations

from itertools import combinations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.report.page.plane import LEFT, TOP, WHOLE, Axis, Mark, Name, Plane, Symbol
from hmu.report.page.rendering import environment, render

SHARES = st.floats(0, 1)


def plane(places: list[tuple[float, float]], name: str = "lora rank=4") -> Plane:
    marks = [Mark(f"{name} {i}", "unlearned", x, y) for i, (x, y) in enumerate(places)]
    return Plane(marks, WHOLE, WHOLE, 520.0, 330.0, "words")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=4))
def test_names_of_a_few_marks_cover_nobody(places):
    drawn = plane(places)
    for one, other in combinations(drawn.names, 2):
        assert not one.covers(other)
    for name, (x, y) in product(drawn.names, places):
        assert not name.covers(Name("oo", "", drawn.x(x), drawn.y(y) + 4, "middle"))
    assert all(TOP - 14 < name.y < drawn.bottom for name in drawn.names)


def test_five_marks_at_one_place_are_all_named():
    drawn = plane([(1.0, 1.0)] * 5)
    assert len({name.y for name in drawn.names}) == 5
    assert all(name.anchor == "end" for name in drawn.names)  # to the left, where there is room


def test_values_beyond_the_axes_stand_at_the_edge():
    drawn = plane([(0.5, 0.5)])
    assert (drawn.x(-1), drawn.x(2)) == (LEFT, drawn.right)
    assert (drawn.y(-1), drawn.y(2)) == (drawn.bottom, TOP)


def test_an_axis_begins_a_tenth_below_the_smallest_value():
    assert Axis.below([0.787, 1.0]).low == 0.7
    assert Axis.below([0.999]).low == 0.9
    assert Axis.below([0.01]).low == 0.0


def test_kinds_differ_by_hue_and_by_shape():
    signs = [Symbol.of(number) for number in range(8)]
    assert len({sign.hue for sign in signs}) == 8
    assert len({sign.corners for sign in signs}) == 4


def test_drawings_escape_names_too():
    assert environment().autoescape is True
    drawn = render("plane.svg", plane=plane([(0.5, 0.5)], "<b>&"))
    assert "&lt;b&gt;&amp; 0" in drawn
    assert "<b>" not in drawn
