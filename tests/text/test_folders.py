"""A received folder of a language model runs no code of its own and fetches none."""

from __future__ import annotations

import json
import sys
import time

import pytest

from hmu.errors import CheckpointError
from hmu.text.clip import ClipTextEncoder
from hmu.text.hub import check_language_model
from hmu.text.huggingface import TransformerTextEncoder

pytest.importorskip("transformers")


def folder_of(path, **config):
    """A model whose code, weights and tokenizer leave a file where they run."""
    touch = f"import pathlib; pathlib.Path({str(path / 'ran')!r}).touch()\n"
    for name in ("modeling_x.py", "tokenization_x.py", "configuration_x.py", "x.py"):
        (path / name).write_text(f"{touch}class X: pass\n")
    auto = {"AutoModel": "modeling_x.X", "AutoConfig": "configuration_x.X", "AutoTokenizer": ["tokenization_x.X", None]}
    (path / "config.json").write_text(json.dumps({"auto_map": auto, **config}))
    (path / "tokenizer_config.json").write_text(json.dumps({"auto_map": auto, "tokenizer_class": "X"}))
    return path


@pytest.mark.parametrize("kind", ["bert", "clip", "x", None])
@pytest.mark.parametrize("encoder", [TransformerTextEncoder, ClipTextEncoder])
def test_code_of_the_folder_is_not_run_and_nobody_is_asked(tmp_path, monkeypatch, kind, encoder):
    asked: list[object] = []
    monkeypatch.setattr("builtins.input", lambda *given: asked.append(given) or "y")
    folder = folder_of(tmp_path, **({"model_type": kind} if kind else {}))
    start = time.perf_counter()
    with pytest.raises(CheckpointError) as caught:
        encoder(str(folder))
    assert time.perf_counter() - start < 30
    assert "\n" not in str(caught.value)
    assert not asked
    assert not (tmp_path / "ran").exists()
    assert not [name for name in sys.modules if name.endswith(("modeling_x", "tokenization_x", "configuration_x"))]


@pytest.mark.parametrize(
    "config",
    [
        {"_attn_implementation": "somebody/kernel"},
        {"attn_implementation": "kernels-community/flash-attn"},
        {"text_config": {"_attn_implementation_internal": "somebody/kernel:run"}},
        {"text_config": [{"attn_implementation": {"": "somebody/kernel"}}]},
        {"experts_implementation": "a|b/c"},
        {"kernel_config": {"x": "somebody/kernel"}},
    ],
)
def test_kernels_are_not_fetched(tmp_path, config):
    for build in (check_language_model, lambda f: TransformerTextEncoder(str(f)), lambda f: ClipTextEncoder(str(f))):
        with pytest.raises(CheckpointError, match="fetch and run a kernel"):
            build(folder_of(tmp_path, model_type="bert", **config))


def test_usual_settings_are_accepted(tmp_path):
    check_language_model(folder_of(tmp_path, _attn_implementation="sdpa", kernel_size=3, model_type="bert"))
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="nested too deeply"):
        check_language_model(tmp_path)
