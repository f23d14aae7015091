"""Every file under configs/ composes, what it names exists, and its header says how to use it."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path

import pytest
import yaml
from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf

from canopy.nets.features import MAX_ONE_HOT
from canopy.params import mount_params
from packages import ROOT, composed

CONFIGS = ROOT / "configs"
FILES = sorted(path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.yaml"))
# Groups that enter a config elsewhere than under their own name.
PLACES = {"categories": "model.net", "embedding": "model.net.embedding", "training": "model"}
PLACES = {f"model/{name}": place for name, place in PLACES.items()} | {"preparation": "pipeline"}
# What has no default.
RUN = ["run=a/run"]
REQUIRED = {"evaluate": RUN, "export": RUN, "compress": RUN, "predict": [*RUN, "input=a.csv", "output=b.csv"]}

pytestmark = pytest.mark.usefixtures("rule_for_5000_rows")


def nodes(node: object) -> list[DictConfig]:
    """Every part of a config that has a `_target_`."""
    if isinstance(node, DictConfig):
        own = [node] if "_target_" in node else []
        return own + [found for key in node for found in nodes(node._get_node(key))]
    return [found for value in node for found in nodes(value)] if isinstance(node, ListConfig) else []


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] != "hydra"], ids=str)
def test_a_config_composes(path: Path) -> None:
    group = str(path.parent).removeprefix("covertype/")
    if group == ".":
        cfg = composed(path.stem, *REQUIRED.get(path.stem, []))
    else:
        place = f"@{PLACES[group]}" if group in PLACES else ""
        command = "predict" if group == "engine" else "train"
        cfg = composed(command, f"{group}{place}={path.stem}", "++input=a", "++output=a")
    assert "???" not in OmegaConf.to_yaml(cfg)
    for node in nodes(cfg):
        parameters = signature(get_object(node["_target_"])).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            unknown = {str(key) for key in node if not str(key).startswith("_")} - parameters.keys()
            assert not unknown, f"{node['_target_']} has no {unknown}"
    if group == "model":
        assert cfg.model.net.max_one_hot == MAX_ONE_HOT
        assert composed("train", f"model={path.stem}", "model.net.max_one_hot=5").model.net.max_one_hot == 5


EXPECTED = re.compile(
    r"^# Expected: validation accuracy (0\.\d{4}), (\d+) s of training on (.+) with (\d+) threads?\.$",
    re.MULTILINE,
)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_has_a_command_and_no_fact_of_the_schema(path: Path) -> None:
    text = (CONFIGS / path).read_text()
    header = [line for line in text.splitlines()[:4] if line.startswith("#") and "@package" not in line]
    assert "python s" in " ".join(header), "the header must give a command that uses the file"
    # A preparation is what makes the schema, as params.yaml is.
    if "preparation" not in path.parts:
        assert not re.search("n_classes|n_numeric|cardinalities|Cover_Type|Soil_Type", text)
    assert path.parent.name != "experiment" or len(EXPECTED.findall(text)) == 1


def test_the_pipeline_s_experiment_did_as_expected() -> None:
    experiment = yaml.safe_load((ROOT / "params.yaml").read_text())["train"]["experiment"]
    text = (CONFIGS / "experiment" / f"{experiment}.yaml").read_text()
    ((accuracy, seconds, device, n_threads),) = EXPECTED.findall(text)
    scores, train = (json.loads((ROOT / f"reports/{name}.json").read_text()) for name in ("metrics", "train"))
    assert float(accuracy) == pytest.approx(scores["val"]["accuracy"], abs=1e-3)
    # The same machine takes half as long again at times.
    assert 0.5 < float(seconds) / train["train_seconds"] < 2
    assert (device, int(n_threads)) == (train["device"], train["n_threads"])


Mount = Callable[..., None]
DATA_SETS = sorted(path.parent for path in [ROOT / "params.yaml", *ROOT.glob("datasets/*/params.yaml")])


@pytest.fixture
def mount_train(tmp_path: Path) -> Iterator[Mount]:
    """Mount a params.yaml whose section `train` is another one."""

    def mount(overrides: str, experiment: str = "mlp") -> None:
        params = OmegaConf.load(ROOT / "params.yaml")
        params.train = {"experiment": experiment, "overrides": overrides}
        params.paths |= {"configs": str(CONFIGS), "own_configs": str(CONFIGS / "covertype")}
        OmegaConf.save(params, tmp_path / "params.yaml")
        mount_params(tmp_path)

    yield mount
    mount_params(ROOT)


@pytest.mark.parametrize("folder", DATA_SETS, ids=lambda path: path.name)
def test_run_takes_params_yaml(folder: Path, mount_train: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    params = mount_params()
    started = composed("train")
    mount_train("")
    typed = composed("train", f"experiment={params.train.experiment}", *shlex.split(params.train.overrides))
    for section in ("data", "model", "trainer", "callbacks", "logger", "objective", "seed"):
        assert OmegaConf.select(started, section) == OmegaConf.select(typed, section), section


def test_what_is_typed_decides_over_params_yaml(mount_train: Mount) -> None:
    """That is a value, a choice, and all that an experiment, a sweep or debugging sets."""
    own = {"trainer.max_epochs": 50, "trainer.benchmark": True, "data.batch_size": 32}
    own |= {"trainer.accelerator": "cpu", "model.net.hidden": [64, 64]}
    trainer = "trainer=cpu trainer.max_epochs=50 +trainer.benchmark=true"
    mount_train(f"{trainer} data.batch_size=32 'model.net.hidden=[64, 64]'")
    n_epochs = {"experiment=fast": 4, "sweep=mlp_quick": 16, "debug=limit": 3, "trainer.max_epochs=7": 7}
    for override in ("seed=1", "experiment=mlp", "trainer=gpu", *n_epochs):
        expected = own | {"trainer.max_epochs": n_epochs.get(override, 50)}
        expected |= {"trainer.accelerator": "gpu"} if override == "trainer=gpu" else {}
        found = composed("train", override)
        assert {key: OmegaConf.select(found, key) for key in own} == expected


def test_train_adds_callbacks_and_loggers_to_the_default_ones() -> None:
    default, added = composed("train"), composed("train", "callbacks=[default,prediction_file]")
    assert {*added.callbacks} - {*default.callbacks} == {"prediction_file"}
    assert {*composed("train", "logger=[csv]").logger} == {"csv"}


def test_params_yaml_decides_over_its_experiment_and_the_primary_config(mount_train: Mount) -> None:
    mount_train("trainer.max_epochs=9 model=resnet objective.monitor=val/nll seed=3", experiment="fast")
    found = composed("train")
    assert (found.trainer.max_epochs, found.objective.monitor, found.seed) == (9, "val/nll", 3)
    assert found.model.net._target_ == "canopy.nets.resnet.ResNet"
    # An experiment that chooses a model keeps it.
    assert composed("train", "experiment=mlp").model.net._target_ == "canopy.nets.mlp.MLP"


def test_what_cannot_be_train_overrides_is_refused(mount_train: Mount) -> None:
    for overrides, message in (
        ("name='abc", r"params\.yaml: train\.overrides must be .* got \"name='abc\": No closing quotation"),
        ("trainer.max_epochs 3", "got 'trainer.max_epochs 3': Error when parsing .* trainer.max_epochs"),
        ("~callbacks.early_stopping", "must be choices and values; got '~callbacks.early_stopping'"),
        ("seed=1,2", "must be choices and values; got 'seed=1,2'"),
        ("experiment=mlp", "got 'experiment=mlp': an experiment is train.experiment"),
    ):
        with pytest.raises(ValueError, match=message):
            mount_train(overrides)
