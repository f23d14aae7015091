"""Every file under configs/ composes, what it names exists, and its header says how to use it."""

import json
import re
from inspect import signature
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
FILES = sorted(path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.yaml"))
PRIMARY = [path.stem for path in FILES if len(path.parts) == 1]
CHOICES = [path for path in FILES if len(path.parts) > 1 and path.parts[0] != "hydra"]

# Groups that enter a config elsewhere than under their own name.
PLACES = {
    "preparation": "pipeline",
    "model/embedding": "model.net.embedding",
    "model/training": "model",
}

# What has no default.
REQUIRED = {
    "evaluate": ["run=a/run"],
    "export": ["run=a/run"],
    "compress": ["run=a/run"],
    "predict": ["run=a/run", "input=a.csv", "output=b.csv"],
}


def composed(name: str, overrides: list[str]) -> DictConfig:
    with initialize_config_dir(str(CONFIGS), job_name=name):
        return compose(name, overrides)


def choice(path: Path) -> str:
    """The override that takes a file of a group."""
    group = str(path.parent)
    return f"{group}@{PLACES[group]}={path.stem}" if group in PLACES else f"{group}={path.stem}"


def nodes(node: object) -> list[DictConfig]:
    """Every part of a config that has a `_target_`."""
    if isinstance(node, DictConfig):
        own = [node] if "_target_" in node else []
        values = [node._get_node(key) for key in node]
        return own + [found for value in values for found in nodes(value)]
    if isinstance(node, ListConfig):
        return [found for value in node for found in nodes(value)]
    return []


def targets(node: object) -> list[str]:
    """Every `_target_` in a config."""
    return [found["_target_"] for found in nodes(node)]


@pytest.mark.parametrize("name", PRIMARY)
def test_a_primary_config_composes(name: str) -> None:
    cfg = composed(name, REQUIRED.get(name, []))
    assert "???" not in OmegaConf.to_yaml(cfg)
    for target in targets(cfg):
        get_object(target)


@pytest.mark.parametrize("path", CHOICES, ids=str)
def test_a_choice_composes(path: Path) -> None:
    cfg = composed("train", [choice(path), "++output=a"])
    assert "???" not in OmegaConf.to_yaml(cfg)
    for target in targets(cfg):
        get_object(target)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_header_gives_the_command(path: Path) -> None:
    lines = (CONFIGS / path).read_text().splitlines()
    header = [line for line in lines[:4] if line.startswith("#") and "@package" not in line]
    assert header, "the first line must say what the choice is for"
    assert "python s" in " ".join(header), "the header must give a command that uses the file"


EXPECTED = re.compile(
    r"^# Expected: validation accuracy (0\.\d{4}), (\d+) s of training on (.+) with (\d+) threads?\.$",
    re.MULTILINE,
)


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] == "experiment"], ids=str)
def test_an_experiment_says_what_to_expect(path: Path) -> None:
    assert len(EXPECTED.findall((CONFIGS / path).read_text())) == 1


def test_the_pipeline_s_experiment_did_as_expected() -> None:
    experiment = yaml.safe_load((ROOT / "params.yaml").read_text())["train"]["experiment"]
    ((accuracy, seconds, device, n_threads),) = EXPECTED.findall(
        (CONFIGS / "experiment" / f"{experiment}.yaml").read_text()
    )
    scores, train = (
        json.loads((ROOT / "reports" / name).read_text()) for name in ("metrics.json", "train.json")
    )
    assert float(accuracy) == pytest.approx(scores["val"]["accuracy"], abs=1e-3)
    # The same machine takes half as long again at times.
    assert 0.5 < float(seconds) / train["train_seconds"] < 2
    assert (device, int(n_threads)) == (train["device"], train["n_threads"])


def test_no_config_repeats_what_the_schema_tells() -> None:
    # A preparation is what makes the schema, as params.yaml is.
    for path in (path for path in FILES if path.parts[0] != "preparation"):
        text = (CONFIGS / path).read_text()
        for fact in ("n_classes", "n_numeric", "cardinalities", "Cover_Type", "Soil_Type"):
            assert fact not in text, f"{path} must leave {fact} to the schema"


@pytest.mark.parametrize("path", CHOICES, ids=str)
def test_every_option_is_one_of_its_target(path: Path) -> None:
    cfg = composed("train", [choice(path), "run_folder=a", "++output=a"])
    OmegaConf.to_container(cfg, resolve=True)
    for node in nodes(cfg):
        parameters = signature(get_object(node["_target_"])).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            continue
        unknown = {str(key) for key in node if not str(key).startswith("_")} - parameters.keys()
        assert not unknown, f"{node['_target_']} has no {unknown}"
