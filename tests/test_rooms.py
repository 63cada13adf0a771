"""How many files one opens to follow a path, as ``tests/rooms.py`` defines it."""

from __future__ import annotations

import pytest

from tests import rooms


@pytest.mark.parametrize(
    ("measure", "most"), [(rooms.esd, 4), (rooms.metric, 8), (rooms.bamm, 10)], ids=["esd", "metric", "bamm"]
)
def test_few_rooms_are_opened(measure, most):
    opened = measure()
    assert opened <= set(rooms.modules())
    assert 0 < len(opened) <= most, sorted(opened)


def test_a_metric_is_followed_without_a_gap():
    """Each room of the way is imported by one of the others: nothing passes through a room that is not listed."""
    way = rooms.metric()
    for name in way - {"hmu.metrics.fid"}:  # that one is named by its configuration alone
        assert any(name in rooms.imports(other) for other in way - {name}) or name == "hmu.evaluation.suite"
    assert "torchmetrics" not in way
    assert rooms.used("hmu.evaluation.suite") >= {"hmu.evaluation.counting", "hmu.evaluation.embedding"}


def test_names_in_annotations_need_not_be_followed(tmp_path, monkeypatch):
    (tmp_path / "hmu").mkdir()
    for name in "abc":
        (tmp_path / "hmu" / f"{name}.py").write_text("def f(): ...\n")
    (tmp_path / "hmu" / "d.py").write_text(
        "from hmu.a import f\nfrom hmu.b import f as g\nfrom hmu.c import f as h\nx: h = 1\n"
        "def use(one: g) -> g:\n    return f(one)\n"
    )
    monkeypatch.setattr(rooms, "REPOSITORY", tmp_path)
    monkeypatch.setattr(rooms, "modules", rooms.modules.__wrapped__)
    assert rooms.used("hmu.d") == {"hmu.a"}
