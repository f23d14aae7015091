"""Each door that a file from elsewhere can come in by: what is planted in it is not executed."""

import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import execution_whitelist, instantiate
from omegaconf import DictConfig, OmegaConf
from onnx import TensorProto, helper

from canopy.data.dataset import load_rows
from canopy.export.manifest import MANIFEST_FILE, ONNX_FILE, Manifest
from canopy.export.scorer import Scorer
from canopy.files import read_json, sha256
from canopy.params import mount_params
from canopy.runs.entry import TRUSTED_TARGETS
from canopy.runs.run import Run
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.sweep.plan import Plan

Refused = Callable[..., str]


@pytest.mark.slow
@pytest.mark.usefixtures("trusted_targets")
def test_predict_refuses_pickled_checkpoint(
    trained_run: Run, raw_table: Path, payload: object, refused: Refused, tmp_path: Path
) -> None:
    torch.save({"state_dict": payload}, trained_run.best_checkpoint)
    said = refused("predict", f"run={trained_run.path}", f"input={raw_table}", f"output={tmp_path / 'a.csv'}")
    assert "best.ckpt must be a whole checkpoint of tensors and plain values; got Weights only" in said


@pytest.mark.usefixtures("trusted_targets")
def test_resume_refuses_pickled_checkpoint(trained_run: Run, payload: object, refused: Refused) -> None:
    torch.save({"callbacks": payload, "state_dict": {}}, trained_run.last_checkpoint)
    said = refused("train", f"resume={trained_run.path}", "trainer.max_epochs=2", own_log=False)
    assert "last.ckpt must be a whole checkpoint of tensors and plain values; got Weights only" in said


@pytest.mark.slow
def test_train_refuses_pickled_tensors(
    tensors: Path, payload: object, executed: Path, refused: Refused
) -> None:
    torch.save({"numeric": payload}, tensors / "train.pt")
    schema = Schema.load(tensors / SCHEMA_FILE)
    # Who plants a file writes its hash as well.
    schema = replace(schema, sha256={**schema.sha256, "train.pt": sha256(tensors / "train.pt")})
    schema.save(tensors / SCHEMA_FILE)
    with pytest.raises(ValueError, match="must hold the tensors of a split and nothing else; got Weights"):
        load_rows(tensors, "train", schema)
    assert not executed.exists()
    said = refused("train", "trainer=cpu", f"pipeline.paths.processed={tensors}")
    assert "train.pt must hold the tensors of a split and nothing else; got Weights only" in said


@pytest.mark.slow
@pytest.mark.usefixtures("trusted_targets")
def test_predict_refuses_untrusted_target_in_run_config(
    trained_run: Run, raw_table: Path, executed: Path, refused: Refused, tmp_path: Path
) -> None:
    config = trained_run.config
    config.model = {"_target_": "os.system", "command": f"touch {executed}"}
    trained_run.save_config(config)
    said = refused("predict", f"run={trained_run.path}", f"input={raw_table}", f"output={tmp_path / 'a.csv'}")
    assert "'os.system'" in said


CALLS = [
    {"_target_": "os.system", "command": "touch {path}"},
    {"_target_": "builtins.eval", "_args_": ["open('{path}', 'w')"]},
    {"_target_": "pathlib.Path.touch", "_args_": [{"_target_": "pathlib.Path", "_args_": ["{path}"]}]},
    # By way of what trusted modules import.
    {"_target_": "lightning.pytorch.callbacks.model_checkpoint.os.system", "_args_": ["touch {path}"]},
    {"_target_": "canopy.compare.spread.write_text", "path": "{path}", "text": ""},
    {"_target_": "canopy.training.callbacks.hyperparameters.Path.write_text", "_args_": ["{path}", "a"]},
    {"_target_": "torch.nn.functional.torch.hub.load_state_dict_from_url", "url": "http://127.0.0.1:1/a"},
    # By way of a call that calls.
    {"_target_": "functools.partial", "_args_": [{"_target_": "os.system", "_partial_": True}]},
]


def filled(node: object, path: Path) -> object:
    return json.loads(json.dumps(node).replace("{path}", str(path)))


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call["_target_"])
def test_instantiate_refuses_untrusted_target(call: dict[str, object], executed: Path) -> None:
    with (
        execution_whitelist(TRUSTED_TARGETS),
        pytest.raises(InstantiationException, match="whitelist|non-executable"),
    ):
        instantiate(OmegaConf.create({"made": filled(call, executed)}))
    assert not executed.exists()


def test_train_refuses_untrusted_log_factory(executed: Path, root: Path, tmp_path: Path) -> None:
    (tmp_path / "configs/debug").mkdir(parents=True)
    planted = {"hydra": {"job_logging": {"formatters": {"simple": {"()": "os.system"}}}}}
    planted["hydra"]["job_logging"]["formatters"]["simple"]["command"] = f"touch {executed}"
    text = f"# @package _global_\n{OmegaConf.to_yaml(OmegaConf.create(planted))}"
    (tmp_path / "configs/debug/planted.yaml").write_text(text)
    command = [sys.executable, "src/train.py", f"--config-dir={tmp_path / 'configs'}", "debug=planted"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Target 'os.system' cannot be authorized" in done.stderr
    assert not executed.exists()


TAG = "!!python/object/apply:os.system ['touch {}']\n"


def test_yaml_with_object_tag_is_refused(trained_files: Path, executed: Path, tmp_path: Path) -> None:
    (trained_files / "config.yaml").write_text(f"model: {TAG.format(executed)}")
    with pytest.raises(ValueError, match="must be YAML of plain values; found could not determine a constr"):
        _ = Run(trained_files).config
    (tmp_path / "params.yaml").write_text(f"seed: {TAG.format(executed)}")
    with pytest.raises(ValueError, match="must be YAML in UTF-8; found could not determine a constructor"):
        mount_params(tmp_path)
    assert not executed.exists()


@pytest.fixture
def trained_files(tmp_path: Path) -> Path:
    """A run folder as far as its config."""
    folder = tmp_path / "somebody"
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 0\n")
    return folder


def reads_a_file(location: str, *, n_numeric: int) -> bytes:
    """Make a graph whose weights are the content of a file next to or outside its folder."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        weights.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("Add", ["numeric", "w"], ["probabilities"])],
        "planted",
        [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["n", n_numeric])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", n_numeric])],
        [weights],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10
    ).SerializeToString()


@pytest.mark.usefixtures("trusted_targets")
def test_scorer_refuses_planted_graph(
    export_run: Callable[..., Path], payload: object, executed: Path, raw_table: Path, refused: Refused
) -> None:
    bundle = export_run()
    secret = bundle.parent / "secret"
    secret.write_bytes(np.float32(1).tobytes())
    n_numeric = len(Manifest.load(bundle).preprocessor.scalings)
    planted = {
        "pickled": pickle.dumps(payload),
        "outside": reads_a_file("../secret", n_numeric=n_numeric),
        "absolute": reads_a_file(str(secret), n_numeric=n_numeric),
    }
    for content in planted.values():
        plant_graph(bundle, content)
        with pytest.raises(ValueError, match=r"model.onnx must be a graph that ONNX Runtime takes; got"):
            Scorer(bundle)
    assert not executed.exists()
    output = bundle.parent / "a.csv"
    said = refused("predict", f"bundle={bundle}", f"input={raw_table}", f"output={output}")
    assert "model.onnx must be a graph that ONNX Runtime takes; got" in said
    assert not output.exists()


def plant_graph(bundle: Path, content: bytes) -> None:
    """Put another graph into a bundle and make all its hashes right."""
    (bundle / ONNX_FILE).write_bytes(content)
    manifest = Manifest.load(bundle)
    files = {**manifest.files, ONNX_FILE: hashlib.sha256(content).hexdigest()}
    manifest.model_copy(update={"files": files}).save(bundle)
    assert read_json(bundle / MANIFEST_FILE)["files"] == files


def test_sweep_refuses_sampler_that_unpickles() -> None:
    sampler = {"_target_": "optuna.samplers.CmaEsSampler"}
    with pytest.raises(ValueError, match="got cmaes, which unpickles its state"):
        Plan.make([], OmegaConf.create({"hydra": {"sweeper": {"sampler": sampler}}}))


SOURCES = [
    ({"package": "git+https://127.0.0.1/a"}, "package must be name==version"),
    ({"package": "./planted"}, "package must be name==version"),
    ({"package": "a==1", "pip": {"no_binary": ":all:"}}, "pip must have options of python_version"),
]


@pytest.mark.parametrize(("source", "message"), SOURCES, ids=lambda value: str(value)[:60])
def test_fetch_refuses_source_that_builds_a_package(
    source: dict[str, object], message: str, small_params: DictConfig
) -> None:
    from canopy.params_sections import Source
    from canopy.prepare import fetch

    entry = OmegaConf.merge(OmegaConf.structured(Source), {"member": "a", "has_header": True, **source})
    small_params.fetch = {"sha256": "0" * 64, "timeout_seconds": 1, "sources": [entry]}
    with pytest.raises(ConnectionError, match=message):
        fetch.run(small_params)
