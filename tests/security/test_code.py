"""Each door that a file from elsewhere can come in by: what is planted in it is not executed."""

import hashlib
import json
import pickle
from collections.abc import Callable, Iterator
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
from canopy.export.manifest import ONNX_FILE, Manifest
from canopy.export.scorer import Scorer
from canopy.files import sha256
from canopy.params import mount_params
from canopy.params_sections import Source
from canopy.prepare import fetch
from canopy.runs.entry import TRUSTED_TARGETS
from canopy.runs.run import Run
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.sweep.plan import Plan
from packages import ROOT, Payload, execute

Refuses = Callable[..., None]


@pytest.fixture
def executed(tmp_path: Path) -> Iterator[Path]:
    """The file that planted code would make; after the test it must not be there."""
    yield tmp_path / "executed"
    assert not (tmp_path / "executed").exists()


@pytest.fixture
def payload(executed: Path) -> Payload:
    return Payload(executed)


@pytest.fixture
def refuses() -> Callable[..., None]:
    """Run a command that must refuse what it is given, with a message of a few lines."""

    def check(script: str, *arguments: str, message: str, n_lines: int = 3) -> None:
        done = execute("python", f"src/{script}.py", *arguments, folder=ROOT, check=False)
        assert done.returncode != 0, done.stdout
        assert message in done.stderr, done.stderr
        assert "Traceback (most recent call last)" not in done.stderr, done.stderr
        lines = [line for line in done.stderr.splitlines() if line and not line.startswith("Traceback: ")]
        assert len(lines) <= n_lines, done.stderr

    return check


@pytest.fixture
def predict(raw_table: Path, tmp_path: Path) -> list[str]:
    """A prediction, but for what it is made with."""
    return ["predict", f"input={raw_table}", f"output={tmp_path}/a.csv", f"hydra.run.dir={tmp_path}/logged"]


@pytest.mark.slow
@pytest.mark.usefixtures("trusted_targets")
def test_predict_refuses_pickled_checkpoint(
    trained_run: Run, payload: object, refuses: Refuses, predict: list[str]
) -> None:
    torch.save({"state_dict": payload}, trained_run.best_checkpoint)
    message = "best.ckpt must be a whole checkpoint of tensors and plain values; got Weights only"
    refuses(*predict, f"run={trained_run.path}", message=message)


@pytest.mark.usefixtures("trusted_targets")
def test_resume_refuses_pickled_checkpoint(trained_run: Run, payload: object, refuses: Refuses) -> None:
    torch.save({"callbacks": payload, "state_dict": {}}, trained_run.last_checkpoint)
    message = "last.ckpt must be a whole checkpoint of tensors and plain values; got Weights only"
    refuses("train", f"resume={trained_run.path}", "trainer.max_epochs=2", message=message)


@pytest.mark.slow
def test_train_refuses_pickled_tensors(
    tensors: Path, payload: object, refuses: Refuses, tmp_path: Path
) -> None:
    torch.save({"numeric": payload}, tensors / "train/00000.pt")
    schema = Schema.load(tensors / SCHEMA_FILE)
    # Who plants a file writes its hash as well.
    schema = replace(schema, sha256={**schema.sha256, "train/00000.pt": sha256(tensors / "train/00000.pt")})
    schema.save(tensors / SCHEMA_FILE)
    message = "train/00000.pt must hold the tensors of a split and nothing else; got Weights only"
    with pytest.raises(ValueError, match=message):
        load_rows(tensors, "train", schema)
    options = (f"pipeline.paths.processed={tensors}", f"hydra.run.dir={tmp_path}/logged")
    refuses("train", "trainer=cpu", *options, message=message)


@pytest.mark.slow
@pytest.mark.usefixtures("trusted_targets")
def test_predict_refuses_untrusted_target_in_run_config(
    trained_run: Run, executed: Path, refuses: Refuses, predict: list[str]
) -> None:
    config = trained_run.config
    config.model = {"_target_": "os.system", "command": f"touch {executed}"}
    trained_run.save_config(config)
    refuses(*predict, f"run={trained_run.path}", message="'os.system'")


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


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call["_target_"])
def test_instantiate_refuses_untrusted_target(call: dict[str, object], executed: Path) -> None:
    planted = json.loads(json.dumps(call).replace("{path}", str(executed)))
    with (
        execution_whitelist(TRUSTED_TARGETS),
        pytest.raises(InstantiationException, match="whitelist|non-executable"),
    ):
        instantiate(OmegaConf.create({"made": planted}))


def test_train_refuses_untrusted_log_factory(executed: Path, refuses: Refuses, tmp_path: Path) -> None:
    (tmp_path / "debug").mkdir()
    factory = {"()": "os.system", "command": f"touch {executed}"}
    planted = OmegaConf.create({"hydra": {"job_logging": {"formatters": {"simple": factory}}}})
    (tmp_path / "debug/planted.yaml").write_text(f"# @package _global_\n{OmegaConf.to_yaml(planted)}")
    message = "Target 'os.system' cannot be authorized"
    # Hydra's own message.
    refuses("train", f"--config-dir={tmp_path}", "debug=planted", message=message, n_lines=7)


def test_yaml_with_object_tag_is_refused(executed: Path, tmp_path: Path) -> None:
    tag = f"seed: !!python/object/apply:os.system ['touch {executed}']\n"
    for name in ("config.yaml", "params.yaml"):
        (tmp_path / name).write_text(tag)
    with pytest.raises(ValueError, match="must be YAML of plain values; found could not determine a constr"):
        _ = Run(tmp_path).config
    with pytest.raises(ValueError, match="must be YAML in UTF-8; found could not determine a constructor"):
        mount_params(tmp_path)


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
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return model.SerializeToString()


@pytest.mark.usefixtures("trusted_targets")
def test_scorer_refuses_planted_graph(
    export_run: Callable[..., Path], payload: object, refuses: Refuses, predict: list[str], tmp_path: Path
) -> None:
    bundle = export_run()
    secret = bundle.parent / "secret"
    secret.write_bytes(np.float32(1).tobytes())
    manifest = Manifest.load(bundle)
    n_numeric = len(manifest.preprocessor.scalings)
    message = "model.onnx must be a graph that ONNX Runtime takes; got"
    for content in (
        pickle.dumps(payload),
        reads_a_file("../secret", n_numeric=n_numeric),
        reads_a_file(str(secret), n_numeric=n_numeric),
    ):
        (bundle / ONNX_FILE).write_bytes(content)
        # Who plants a file writes its hash as well.
        files = {**manifest.files, ONNX_FILE: hashlib.sha256(content).hexdigest()}
        manifest.model_copy(update={"files": files}).save(bundle)
        with pytest.raises(ValueError, match=message):
            Scorer(bundle)
    refuses(*predict, f"bundle={bundle}", message=message)
    assert not (tmp_path / "a.csv").exists()


def test_sweep_refuses_sampler_that_unpickles() -> None:
    sweeper = {"sampler": {"_target_": "optuna.samplers.CmaEsSampler"}}
    with pytest.raises(ValueError, match="must not unpickle .* got cmaes"):
        Plan.make([], OmegaConf.create({"hydra": {"sweeper": sweeper}}))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"package": "git+https://127.0.0.1/a"}, "package must be name==version"),
        ({"package": "./planted"}, "package must be name==version"),
        ({"package": "a==1", "pip": {"no_binary": ":all:"}}, "pip must have options of python_version"),
    ],
)
def test_fetch_refuses_source_that_builds_a_package(
    source: dict[str, object], message: str, small_params: DictConfig
) -> None:
    entry = OmegaConf.merge(OmegaConf.structured(Source), {"member": "a", "has_header": True, **source})
    small_params.fetch = {"sha256": "0" * 64, "timeout_seconds": 1, "sources": [entry]}
    with pytest.raises(ConnectionError, match=message):
        fetch.run(small_params)
