from __future__ import annotations

from tests.parity import __main__ as parity
from tests.parity.checks import Check, compare, exact


def test_longest_prefix_wins():
    kinds = {"vae": 1, "vae_t2m": 2, "denoiser": 3}
    assert parity.runner_for("vae_kit_3layers", kinds) == 1
    assert parity.runner_for("vae_t2m_3layers", kinds) == 2
    assert parity.runner_for("other", kinds) is None


def test_a_case_goes_to_the_module_that_claims_it(tmp_path):
    def runner(name):
        return lambda case: iter([Check(name, 0.0, 0.0)])

    entries = [(lambda case: case.name == "mine", runner("claimed")), (None, runner("general"))]
    for order in (entries, entries[::-1]):
        run = parity.claimed(order)
        assert [check.name for check in run(tmp_path / "mine")] == ["claimed"]
        assert [check.name for check in run(tmp_path / "yours")] == ["general"]


def test_a_system_named_like_a_case_is_not_one(tmp_path):
    case = tmp_path / "bamm" / "dev" / "bamm"
    case.mkdir(parents=True)
    (tmp_path / "bamm" / "README.md").write_text("")
    (case / "vectors.npz").write_text("")
    kinds = {"bamm": iter}
    assert parity.find_cases(tmp_path / "bamm", kinds) == [case]
    assert parity.find_cases(case, kinds) == [case]


def test_compare_sees_shape_nan_and_size():
    assert compare("a", [1.0, 2.0], [1.0, 2.0], 1e-9).passed
    assert not compare("a", [1.0], [1.0, 2.0], 1.0).passed
    assert not compare("a", [float("nan")], [1.0], 1.0).passed
    assert compare("a", [float("nan")], [float("nan")], 0.0).passed
    assert not compare("a", [1.0], [1.1], 1e-3).passed
    assert not exact("a", [1], [2]).passed


def test_case_that_raises_or_compares_nothing_fails(tmp_path):
    def broken(case):
        raise ValueError("corrupt")
        yield

    line, good = parity.run_case(tmp_path, broken)
    assert not good
    assert "corrupt" in line
    assert not parity.run_case(tmp_path, lambda case: iter(()))[1]
    assert not parity.run_case(tmp_path, None)[1]
    assert parity.run_case(tmp_path, lambda case: iter([Check("x", 0.0, 0.0)]))[1]


def test_unknown_case_makes_the_exit_code_1(tmp_path, capsys):
    (tmp_path / "dev" / "no_such_kind").mkdir(parents=True)
    assert parity.main([str(tmp_path)]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_folder_without_cases_and_missing_folder_are_errors(tmp_path):
    assert parity.main([str(tmp_path)]) == 2
    assert parity.main([str(tmp_path / "nowhere")]) == 2
