"""No code of the project calls what could execute a file that it reads."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for name in ("src", "scripts", "benchmarks") for path in (ROOT / name).rglob("*.py"))

FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "marshal.load", "marshal.loads"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "shelve.open", "dill.load", "dill.loads"),
    *("cloudpickle.load", "cloudpickle.loads", "joblib.load", "pandas.read_pickle"),
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all", "yaml.full_load_all"),
    *("torch.jit.load", "torch.hub.load", "torch.package.PackageImporter", "torch.export.load"),
    *("shutil.unpack_archive", "tarfile.open", "onnxruntime.SessionOptions.register_custom_ops_library"),
}
# Methods of archives, which let the archive choose where a file goes.
UNPACKING = {"extract", "extractall"}
# An option that a call must have, and its value.
NEEDED = {"torch.load": ("weights_only", "True"), "jinja2.Environment": ("autoescape", "True")}
ALLOWED = {
    # What a worker or a fold gets from the process that started it, through a pipe.
    ("src/canopy/sweep/sweep.py", "cloudpickle.loads"),
    ("src/canopy/cross_validation/process.py", "cloudpickle.loads"),
    # The file that the export has just written, to compare it.
    ("src/canopy/export/export.py", "torch.export.load"),
    # Writes YAML, each text as JSON does.
    ("src/canopy/tables/draft/draft.py", "jinja2.Environment"),
    ("src/canopy/compare/summary.py", "jinja2.Environment"),
}


def dangers(text: str) -> set[str]:
    """Name the dangerous calls in a module's source, under whichever names it imports them."""
    tree, names = ast.parse(text), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {item.asname: item.name for item in node.names if item.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {item.asname or item.name: f"{node.module}.{item.name}" for item in node.names}

    def full(node: ast.expr) -> str:
        first, dot, rest = ast.unparse(node).partition(".")
        return names.get(first, first) + dot + rest

    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found |= {full(base) for base in node.bases} & FORBIDDEN
        elif isinstance(node, ast.Call) and is_dangerous(full(node.func), node):
            found.add(full(node.func))
    return found


def is_dangerous(called: str, call: ast.Call) -> bool:
    options = {option.arg: ast.unparse(option.value) for option in call.keywords}
    if called == "yaml.load":
        loaders = {*map(ast.unparse, call.args[1:]), options.get("Loader")}
        return not loaders & {"yaml.SafeLoader", "yaml.CSafeLoader"}
    option, value = NEEDED.get(called, ("", None))
    return (
        called in FORBIDDEN
        or (isinstance(call.func, ast.Attribute) and call.func.attr in UNPACKING)
        or options.get(option) != value
        or any(options.get(name, "False") != "False" for name in ("shell", "allow_pickle"))
    )


def test_loading_never_executes_code() -> None:
    found = {(str(path.relative_to(ROOT)), call) for path in SOURCES for call in dangers(path.read_text())}
    assert found == ALLOWED


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("import pickle as p\np.loads(text)", "pickle.loads"),
        ("from pickle import Unpickler as Reader\nclass A(Reader): ...", "pickle.Unpickler"),
        ("from torch import load\nload(path)", "torch.load"),
        ("import torch\ntorch.load(path, weights_only=False)", "torch.load"),
        ("import numpy as np\nnp.load(path, allow_pickle=True)", "numpy.load"),
        ("import yaml\nyaml.load(text, Loader=yaml.UnsafeLoader)", "yaml.load"),
        ("import subprocess\nsubprocess.run('a', shell=True)", "subprocess.run"),
        ("import zipfile\nzipfile.ZipFile(path).extractall(folder)", "zipfile.ZipFile(path).extractall"),
        ("eval(text)", "eval"),
        ("import torch\ntorch.load(path, weights_only=True)", None),
        ("import yaml\nyaml.load(text, yaml.CSafeLoader)", None),
        ("import re\nre.compile(text)", None),
        ("model.eval()", None),
    ],
)
def test_dangers_finds_calls_under_any_name(text: str, called: str | None) -> None:
    assert dangers(text) == ({called} if called else set())
