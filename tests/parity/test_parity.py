from __future__ import annotations

from tests.parity import __main__ as parity
from tests.parity.checks import Check, compare, exact, unchecked


def runner(name):
    return lambda case: iter([Check(name, 0.0, 0.0)])


def test_the_longest_kind_wins_and_its_words_may_have_others_between(tmp_path):
    kinds = {kind: [(None, runner(kind))] for kind in ("vae", "vae_t2m", "rvq", "rvq_train")}

    def chosen(name):
        run = parity.runner_for(tmp_path / name, kinds)
        return run and next(run(tmp_path)).name

    assert chosen("vae_kit_3layers") == "vae"
    assert chosen("vae_t2m_3layers") == "vae_t2m"
    assert chosen("rvq_shared_train") == "rvq_train"
    assert chosen("other") is None


def test_a_case_goes_to_the_module_that_claims_it(tmp_path):
    entries = [(lambda case: case.name == "full_mine", runner("claimed")), (None, runner("general"))]
    for order in (entries, entries[::-1]):
        kinds = {"full": order}
        for name, expected in (("full_mine", "claimed"), ("full_yours", "general")):
            run = parity.runner_for(tmp_path / name, kinds)
            assert [check.name for check in run(tmp_path)] == [expected]


def test_a_system_named_like_a_case_is_not_one_and_sets_may_be_nested(tmp_path):
    case = tmp_path / "bamm" / "more" / "dev" / "bamm"
    case.mkdir(parents=True)
    (tmp_path / "bamm" / "README.md").write_text("")
    (case / "vectors.npz").write_text("")
    kinds = {"bamm": [(None, iter)]}
    assert parity.find_cases(tmp_path / "bamm" / "more", kinds) == [case]
    assert parity.find_cases(tmp_path / "bamm", kinds) == [case]
    assert parity.find_cases(case, kinds) == [case]


def test_what_is_not_compared_is_said_and_fails_when_strict(tmp_path):
    def case(_):
        yield Check("x", 0.0, 0.0)
        yield unchecked("'notes.txt'", "unknown kind")

    line, passed = parity.run_case(tmp_path, case)
    assert passed
    assert "not compared: 'notes.txt' (unknown kind)" in line
    assert not parity.run_case(tmp_path, case, strict=True)[1]
    assert not parity.run_case(tmp_path, lambda _: iter([unchecked("all", "absent")]))[1]


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
