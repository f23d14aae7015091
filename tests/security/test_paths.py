"""What a file from elsewhere says about places: it does not choose where files are written."""

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from omegaconf import DictConfig, OmegaConf

from canopy.prepare.fetch import open_archived, write_body
from canopy.run_name import run_name
from canopy.runs.fit import choose_start, fit
from canopy.runs.reproduce import reproduced_config
from canopy.runs.run import Run
from canopy.runs.run_folder import check_written_paths
from canopy.sweep import FOLDER
from canopy.sweep.storage import folder_of

PLACES = [
    ("callbacks.best_checkpoint.dirpath", "/planted"),
    ("callbacks.best_checkpoint.dirpath", "${run_folder}/../planted"),
    ("callbacks.best_checkpoint.filename", "../../planted"),
    ("logger.csv.folder", "src"),
    ("logger.tensorboard.folder", "s3://planted/bucket"),
    ("trainer.default_root_dir", "~/planted"),
]


@pytest.fixture
def again(train_config: DictConfig, tmp_path: Path) -> DictConfig:
    """The default config of a command that reproduces the run."""
    config = train_config.copy()
    config.run_folder = str(tmp_path / "again")
    return config


@pytest.fixture
def source(train_config: DictConfig, tensors: Path) -> Run:
    """A run folder as somebody could send it."""
    folder = Path(train_config.run_folder)
    for name in ("schema.json", "preprocessor.json"):
        shutil.copyfile(tensors / name, folder / name)
    run = Run.__new__(Run)
    run.path = folder
    run.save_config(train_config)
    return run


@pytest.mark.parametrize(("key", "place"), PLACES)
def test_reproduce_refuses_config_that_writes_elsewhere(
    source: Run, again: DictConfig, key: str, place: str
) -> None:
    assert reproduced_config(source, again, []).run_folder == again.run_folder
    planted = source.config
    OmegaConf.update(planted, key, place)
    source.save_config(planted)
    with pytest.raises(ValueError, match=f"must write into its run's folder, .*; found {key}="):
        reproduced_config(source, again, [])


def test_reproduce_takes_typed_path(source: Run, again: DictConfig, tmp_path: Path) -> None:
    config = reproduced_config(
        source, again, [f"callbacks.best_checkpoint.dirpath={tmp_path / 'large_disk'}"]
    )
    assert config.callbacks.best_checkpoint.dirpath == str(tmp_path / "large_disk")


def test_check_written_paths_reads_unnamed_arguments(tmp_path: Path) -> None:
    logger = {"_target_": "lightning.pytorch.loggers.CSVLogger", "_args_": ["src"]}
    with pytest.raises(ValueError, match="found logger.csv._args_=src"):
        check_written_paths(OmegaConf.create({"logger": {"csv": logger}}), tmp_path)


@pytest.mark.usefixtures("trusted_targets")
def test_resume_ignores_publish_of_the_run_folder(train_config: DictConfig, tmp_path: Path) -> None:
    """It neither writes checkpoints nor puts copies where its config says, which replace what is there."""
    train_config.trainer.max_epochs = 1
    fit(train_config)
    run = Run(train_config.run_folder)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "letter").write_text("kept")
    planted = run.config
    planted.publish.run = str(precious)
    run.save_config(planted)
    command = train_config.copy()
    command.resume = command.run_folder
    config, checkpoint = choose_start(command, ["trainer.max_epochs=2"])
    assert checkpoint == run.last_checkpoint
    assert config.publish == {"run": None, "report": None}
    command.trainer.max_epochs = 2
    fit(command, overrides=["trainer.max_epochs=2"])
    assert [path.name for path in precious.iterdir()] == ["letter"]
    planted.callbacks.best_checkpoint.dirpath = str(precious)
    run.save_config(planted)
    with pytest.raises(ValueError, match="found callbacks.best_checkpoint.dirpath="):
        choose_start(command, ["trainer.max_epochs=3"])


@pytest.mark.parametrize("member", ["../planted.csv", "/planted.csv", "a/../../planted.csv"])
def test_archive_member_does_not_choose_its_path(tmp_path: Path, member: str) -> None:
    archive, target = tmp_path / "in" / "a.zip", tmp_path / "in" / "deep" / "table.csv"
    target.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr(member, "1,2\n")
    with open_archived(archive, member) as content:
        write_body(content, target, header="a,b\n")
    assert target.read_text() == "a,b\n1,2\n"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a.zip", "table.csv"]


def test_archive_link_is_written_as_text(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    link = zipfile.ZipInfo("table.csv")
    link.external_attr = 0o120777 << 16
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as files:
        files.writestr(link, str(secret))
    (tmp_path / "a.zip").write_bytes(content.getvalue())
    with open_archived(tmp_path / "a.zip", "table.csv") as table:
        write_body(table, tmp_path / "table.csv", header="")
    assert not (tmp_path / "table.csv").is_symlink()
    assert (tmp_path / "table.csv").read_text() == str(secret)


@pytest.mark.parametrize("name", ["../../planted", "/planted", "..", "a/b", "a\\b", "a\0b", "~", "a\nb"])
def test_run_name_is_one_part_of_a_path(name: str) -> None:
    for made in (run_name(name, None, []), run_name(None, name, []), run_name(None, "a", [f"b={name}"])):
        folder = Path("runs") / f"2026-01-31_{made}"
        assert folder.parent == Path("runs")
        assert not {"/", "\\", "\0", "\n", "~"} & set(made)


@pytest.mark.parametrize("place", ["/planted", "../planted", "logs/../../planted"])
def test_sweep_refuses_study_folder_elsewhere(tmp_path: Path, place: str) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db", study_name="planted")
    study.set_user_attr(FOLDER, place)
    default = Path("logs/train/multiruns/now")
    with pytest.raises(ValueError, match=f"must keep its runs in this folder or in .*; found {place}: if"):
        folder_of(study, default)
    # Beside where the command itself would put them, and in the project.
    study.set_user_attr(FOLDER, str(tmp_path / "earlier"))
    assert folder_of(study, tmp_path / "now") == tmp_path / "earlier"
    study.set_user_attr(FOLDER, "logs/train/multiruns/earlier")
    assert folder_of(study, default) == Path("logs/train/multiruns/earlier")


@pytest.mark.usefixtures("trusted_targets")
def test_scorer_ignores_further_files_of_a_manifest(export_run: Callable[..., Path]) -> None:
    """Its files have fixed names; what its description says about others is not looked for."""
    from canopy.export.manifest import Manifest
    from canopy.export.scorer import Scorer

    bundle = export_run()
    manifest = Manifest.load(bundle)
    files = {**manifest.files, "../planted": "0" * 64}
    manifest.model_copy(update={"files": files}).save(bundle)
    Scorer(bundle)
    assert sorted(path.name for path in bundle.iterdir()) == ["model.json", "model.onnx", "model.pt2"]
