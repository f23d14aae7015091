"""No code of the project calls what could execute a file that it reads."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for folder in ("src", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)

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
    # A worker is reported by the process that started it, through a pipe.
    ("src/canopy/sweep/pool.py", "cloudpickle.loads"),
    # The file that the export has just written, to compare it.
    ("src/canopy/export/parity.py", "torch.export.load"),
    # Writes YAML, each text as JSON does.
    ("src/canopy/tables/draft/data_set.py", "jinja2.Environment"),
    ("src/canopy/compare/summary.py", "jinja2.Environment"),
}


def dangers(text: str) -> set[str]:
    """Name the dangerous calls in a module's source, under whichever names it imports them."""
    tree = ast.parse(text)
    names = imported(tree)

    def full(node: ast.expr) -> str:
        first, dot, rest = ast.unparse(node).partition(".")
        return names.get(first, first) + dot + rest

    nodes = list(ast.walk(tree))
    bases = {full(base) for node in nodes if isinstance(node, ast.ClassDef) for base in node.bases}
    calls = [(full(node.func), node) for node in nodes if isinstance(node, ast.Call)]
    return (bases & FORBIDDEN) | {called for called, node in calls if is_dangerous(called, node)}


def imported(tree: ast.Module) -> dict[str, str]:
    """Give the full name of each name that a module imports under another one."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {item.asname: item.name for item in node.names if item.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {item.asname or item.name: f"{node.module}.{item.name}" for item in node.names}
    return names


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


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_loading_never_executes_code(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    assert dangers(path.read_text()) == {called for where, called in ALLOWED if where == name}


def test_what_is_allowed_is_there() -> None:
    for name, called in ALLOWED:
        assert called in dangers((ROOT / name).read_text())


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("import pickle\npickle.load(file)", "pickle.load"),
        ("import pickle as p\np.loads(text)", "pickle.loads"),
        ("from pickle import loads\nloads(text)", "pickle.loads"),
        ("from pickle import Unpickler as Reader\nclass A(Reader): ...", "pickle.Unpickler"),
        ("import torch\ntorch.load(path)", "torch.load"),
        ("import torch\ntorch.load(path, weights_only=False)", "torch.load"),
        ("from torch import load\nload(path)", "torch.load"),
        ("import numpy as np\nnp.load(path, allow_pickle=True)", "numpy.load"),
        ("import yaml\nyaml.load(text, yaml.Loader)", "yaml.load"),
        ("import yaml\nyaml.load(text, Loader=yaml.UnsafeLoader)", "yaml.load"),
        ("from jinja2 import Environment\nEnvironment()", "jinja2.Environment"),
        ("import subprocess\nsubprocess.run('a', shell=True)", "subprocess.run"),
        ("import zipfile\nzipfile.ZipFile(path).extractall(folder)", "zipfile.ZipFile(path).extractall"),
        ("import pandas as pd\npd.read_pickle(path)", "pandas.read_pickle"),
        ("eval(text)", "eval"),
    ],
)
def test_a_dangerous_call_is_found_under_any_name(text: str, called: str) -> None:
    assert dangers(text) == {called}


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ntorch.load(path, weights_only=True)",
        "import numpy as np\nnp.load(path)",
        "import yaml\nyaml.load(text, yaml.CSafeLoader)",
        "import re\nre.compile(text)",
        "model.eval()",
    ],
)
def test_a_harmless_call_is_not(text: str) -> None:
    assert not dangers(text)
