"""What a file from elsewhere says about places: it does not choose where files are written."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from omegaconf import DictConfig, OmegaConf

from canopy.export.manifest import Manifest
from canopy.export.scorer import Scorer
from canopy.prepare.fetch import open_archived, write_body
from canopy.run_name import run_name
from canopy.runs.fit import choose_start, fit
from canopy.runs.reproduce import reproduced_config
from canopy.runs.run import Run
from canopy.sweep import FOLDER
from canopy.sweep.storage import folder_of


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


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("callbacks.best_checkpoint.dirpath", "/planted"),
        ("callbacks.best_checkpoint.dirpath", "${run_folder}/../planted"),
        ("callbacks.best_checkpoint.filename", "../../planted"),
        ("logger.csv.folder", "src"),
        ("logger.tensorboard.folder", "s3://planted/bucket"),
        ("logger.csv._args_", ["src"]),
        ("trainer.default_root_dir", "~/planted"),
    ],
)
def test_reproduce_refuses_config_that_writes_elsewhere(
    source: Run, train_config: DictConfig, key: str, place: str | list[str]
) -> None:
    again = OmegaConf.merge(train_config, {"run_folder": f"{train_config.run_folder}/again"})
    assert reproduced_config(source, again, []).run_folder == again.run_folder
    # Typed, it is the user's own choice.
    typed = reproduced_config(source, again, ["callbacks.best_checkpoint.dirpath=/large_disk"])
    assert typed.callbacks.best_checkpoint.dirpath == "/large_disk"
    planted = source.config
    OmegaConf.update(planted, key, place)
    source.save_config(planted)
    with pytest.raises(ValueError, match=f"must write into its run's folder, .*; found {key}="):
        reproduced_config(source, again, [])


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


LINK = zipfile.ZipInfo("table.csv")
LINK.external_attr = 0o120777 << 16


@pytest.mark.parametrize(
    "member", ["../planted.csv", "/planted.csv", "a/../../planted.csv", LINK], ids=["up", "root", "a", "link"]
)
def test_archive_member_does_not_choose_its_path(tmp_path: Path, member: str | zipfile.ZipInfo) -> None:
    archive, target = tmp_path / "in/a.zip", tmp_path / "in/deep/table.csv"
    target.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr(member, "/etc/passwd")
    with open_archived(archive, getattr(member, "filename", member)) as content:
        write_body(content, target, header="a,b\n")
    assert not target.is_symlink()
    assert target.read_text() == "a,b\n/etc/passwd"
    assert sorted(path.name for path in tmp_path.rglob("*") if not path.is_dir()) == ["a.zip", "table.csv"]


@pytest.mark.parametrize("name", ["../../planted", "/planted", "..", "a/b", "a\\b", "a\0b", "~", "a\nb"])
def test_run_name_is_one_part_of_a_path(name: str) -> None:
    for made in (run_name(name, None, []), run_name(None, name, []), run_name(None, "a", [f"b={name}"])):
        assert Path(f"runs/2026-01-31_{made}").parent == Path("runs")
        assert not {"/", "\\", "\0", "\n", "~"} & set(made)


@pytest.mark.parametrize("place", ["/planted", "../planted", "logs/../../planted"])
def test_sweep_refuses_study_folder_elsewhere(tmp_path: Path, place: str) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db", study_name="planted")
    study.set_user_attr(FOLDER, place)
    with pytest.raises(ValueError, match=f"must keep its runs in this folder or in .*; found {place}: if"):
        folder_of(study, Path("logs/train/multiruns/now"))
    # Next to where the command itself would put them, and in the project.
    for earlier, now in ((tmp_path / "earlier", tmp_path / "now"), (Path("logs/a/earlier"), Path("logs/b"))):
        study.set_user_attr(FOLDER, str(earlier))
        assert folder_of(study, now) == earlier


@pytest.mark.usefixtures("trusted_targets")
def test_scorer_ignores_further_files_of_a_manifest(export_run: Callable[..., Path]) -> None:
    """Its files have fixed names; what its description says about others is not looked for."""
    bundle = export_run()
    manifest = Manifest.load(bundle)
    manifest.model_copy(update={"files": {**manifest.files, "../planted": "0" * 64}}).save(bundle)
    Scorer(bundle)
    assert {path.name for path in bundle.iterdir()} == {
        "MODEL_CARD.md",
        "model.json",
        "model.onnx",
        "model.pt2",
    }
