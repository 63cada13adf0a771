"""Nodes that would run code or write a file if anything built them, made from the folder where it would show."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Node = dict[str, Any]


class _Payload:
    """Pickled: makes a file where it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def plant(folder: Path) -> dict[str, Node]:
    """Payloads below ``folder``, and nodes by name whose building would leave ``folder/ran``."""
    folder.mkdir(parents=True, exist_ok=True)
    ran = folder / "ran"
    touch = f"__import__('pathlib').Path({str(ran)!r}).touch()"
    (folder / "x.pt").write_bytes(pickle.dumps(_Payload(ran)))
    (folder / "payload.py").write_text(f"{touch}\ndef go(**k): pass\n")
    (folder / "hubconf.py").write_text(f"{touch}\ndef go(**k): pass\n")
    calls: Mapping[str, Node] = {
        "torch.load": {"f": str(folder / "x.pt"), "weights_only": False},
        "torch.serialization.load": {"f": str(folder / "x.pt"), "weights_only": False},
        "torch.hub.load": {"repo_or_dir": str(folder), "model": "go", "source": "local"},
        "torch.hub.load_state_dict_from_url": {"url": f"file://{folder}/x.pt", "model_dir": str(folder)},
        "torch.jit.load": {"f": str(folder / "x.pt")},
        "torch.save": {"obj": {}, "f": str(ran)},
        "torch.multiprocessing.spawn": {"fn": "payload.go"},
        "numpy.load": {"file": str(folder / "x.pt"), "allow_pickle": True},
        "numpy.save": {"file": str(ran), "arr": [1]},
        "numpy.savetxt": {"fname": str(ran), "X": [1]},
        "numpy.memmap": {"filename": str(ran), "mode": "w+", "shape": [1]},
        "numpy.lib.format.open_memmap": {"filename": str(ran), "mode": "w+", "shape": [1]},
        "numpy.fromfile": {"file": "/etc/passwd"},
        "sympy.sympify": {"a": touch},
        "sympy.parsing.sympy_parser.parse_expr": {"s": touch},
        "sympy.lambdify": {"args": "x", "expr": touch},
        "pickle.load": {"file": {"_target_": "io.FileIO", "file": str(folder / "x.pt")}},
        "pickle.loads": {"data": "x"},
        "_pickle.loads": {"data": "x"},
        "pandas.read_pickle": {"filepath_or_buffer": str(folder / "x.pt")},
        "joblib.load": {"filename": str(folder / "x.pt")},
        "cloudpickle.load": {"file": str(folder / "x.pt")},
        "dill.load": {"file": str(folder / "x.pt")},
        "shelve.open": {"filename": str(ran)},
        "yaml.unsafe_load": {"stream": f"!!python/object/apply:os.system ['touch {ran}']"},
        "yaml.load": {"stream": "x", "Loader": {"_target_": "hydra.utils.get_class", "path": "yaml.UnsafeLoader"}},
        "builtins.eval": {"_args_": [touch]},
        "builtins.exec": {"_args_": [touch]},
        "builtins.open": {"file": str(ran), "mode": "w"},
        "builtins.compile": {"_args_": [touch, "x", "exec"]},
        "io.open": {"file": str(ran), "mode": "w"},
        "io.FileIO": {"file": str(ran), "mode": "w"},
        "codecs.open": {"filename": str(ran), "mode": "w"},
        "os.system": {"command": f"touch {ran}"},
        "posix.system": {"command": f"touch {ran}"},
        "os.popen": {"cmd": f"touch {ran}"},
        "os.makedirs": {"name": str(ran)},
        "os.remove": {"path": str(folder / "x.pt")},
        "os.symlink": {"src": "/etc", "dst": str(ran)},
        "os.execv": {"path": "/usr/bin/touch", "argv": ["touch", str(ran)]},
        "subprocess.run": {"args": ["touch", str(ran)]},
        "subprocess.Popen": {"args": ["touch", str(ran)]},
        "subprocess.check_output": {"args": ["touch", str(ran)]},
        "pty.spawn": {"argv": ["touch", str(ran)]},
        "shutil.rmtree": {"path": str(folder)},
        "shutil.copyfile": {"src": str(folder / "x.pt"), "dst": str(ran)},
        "shutil.unpack_archive": {"filename": str(folder / "x.zip"), "extract_dir": str(folder)},
        "runpy.run_path": {"path_name": str(folder / "payload.py")},
        "importlib.import_module": {"name": "payload"},
        "importlib.util.spec_from_file_location": {"name": "payload", "location": str(folder / "payload.py")},
        "payload.go": {},
        f"{folder.name}.payload.go": {},
        "outputs.received.payload.go": {},
        "timeit.timeit": {"stmt": touch},
        "cProfile.run": {"statement": touch},
        "code.interact": {},
        "webbrowser.open": {"url": "https://example.org"},
        "urllib.request.urlretrieve": {"url": f"file://{folder}/x.pt", "filename": str(ran)},
        "pathlib.Path.touch": {"self": {"_target_": "pathlib.Path", "_args_": [str(ran)]}},
        "pathlib.Path.write_text": {"self": {"_target_": "pathlib.Path", "_args_": [str(ran)]}, "data": "x"},
        "logging.FileHandler": {"filename": str(ran)},
        "logging.config.dictConfig": {"config": {"version": 1, "handlers": {"x": {"()": "payload.go"}}}},
        "tempfile.mkdtemp": {"dir": str(folder)},
        "matplotlib.pyplot.savefig": {"fname": str(ran)},
        "transformers.AutoModel.from_pretrained": {"name": str(folder), "trust_remote_code": True},
        "transformers.pipeline": {"task": "x", "model": str(folder), "trust_remote_code": True},
        "lightning.pytorch.loggers.CSVLogger": {"save_dir": str(ran)},
        "lightning.Trainer": {"default_root_dir": str(ran)},
        "hydra.utils.instantiate": {"config": {"_target_": "torch.load", "f": str(folder / "x.pt")}},
        "hydra.utils.call": {"config": {"_target_": "torch.load", "f": str(folder / "x.pt")}},
        "hydra.utils.get_method": {"path": "payload.go"},
        "omegaconf.OmegaConf.save": {"config": {"a": 1}, "f": str(ran)},
        "hmu.build.instantiate": {"config": {"_target_": "torch.load", "f": str(folder / "x.pt")}},
        "hmu.workflows.parts.instantiate": {"config": {"_target_": "torch.load", "f": str(folder / "x.pt")}},
        "hmu.documents.write_text": {"path": str(ran), "text": "anything"},
        "hmu.documents.write_json": {"path": str(ran), "value": 1},
        "hmu.documents.write_bytes": {"path": str(ran), "data": "x"},
        "hmu.data.demo.generate": {"folder": str(ran)},
        "hmu.gait.demo.generate": {"folder": str(ran)},
        "hmu.tools.pack.pack": {"config": {"model": str(folder), "target": str(ran)}},
        "hmu.text.compact.build_vocabulary": {"texts": ["x"]},
    }
    return {target: {"_target_": target, **arguments} for target, arguments in calls.items()}
