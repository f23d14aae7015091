"""Every mode that this machine can run does run: debug modes, experiments, loggers."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from canopy.data.dataset import load_rows
from canopy.evaluation.inference import Predictor
from canopy.prepare.preprocessor import Encoded
from canopy.runs.fit import fit
from canopy.runs.run import Run

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("trusted_targets"),
    # What Lightning says about so few batches.
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "configs").glob(f"**/{group}/*.yaml"))


@pytest.fixture
def composed(train_config: DictConfig) -> object:
    """Compose the training config with more overrides, over the same small data."""

    def compose_with(*overrides: str) -> DictConfig:
        shared = [
            *("trainer=cpu", "trainer.enable_progress_bar=false", "callbacks.progress_bar=null"),
            *("data.batch_size=4", f"pipeline.paths.processed={train_config.pipeline.paths.processed}"),
            f"run_folder={train_config.run_folder}",
        ]
        with initialize_config_dir(str(ROOT / "configs"), job_name="train"):
            return compose("train", [*shared, *overrides])

    return compose_with


@pytest.mark.parametrize(
    "overrides",
    [
        *([f"debug={mode}", "model.net.hidden=[8]"] for mode in choices("debug")),
        *([f"experiment={experiment}", "debug=fdr"] for experiment in choices("experiment")),
        *([f"logger={logger}", "trainer.max_epochs=1"] for logger in choices("logger")),
    ],
    ids=lambda overrides: overrides[0],
)
def test_a_choice_runs(composed, overrides: list[str]) -> None:
    fit(composed(*overrides))


@pytest.mark.parametrize("embedding", choices("model/embedding"))
@pytest.mark.parametrize("model", choices("model"))
def test_a_model_trains_and_is_read_back(composed, model: str, embedding: str, tensors: Path) -> None:
    place = "net.member" if model == "ensemble" else "net"
    # Each member of a mixed net has its own.
    overrides = (
        [] if model == "mlp" or "mixed" in model else [f"model/embedding@model.{place}.embedding={embedding}"]
    )
    config = composed(f"model={model}", *overrides, "trainer.max_epochs=1")
    score = fit(config)
    predictor = Predictor(Run(config.run_folder), batch_size=50, accelerator="cpu")
    rows = load_rows(tensors, "val", predictor.model.schema).rows
    predicted = predictor.predict(Encoded(rows.numeric.numpy(), rows.categorical.numpy())).argmax(axis=1)
    assert (predicted == rows.labels.numpy()).mean() == pytest.approx(score)
