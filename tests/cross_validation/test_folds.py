"""The tensors of folds are those of the stages, made once for the same preparation, atomically."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from canopy.cross_validation.folds import choose_home, prepare_fold, prepare_table
from canopy.files import sha256
from canopy.prepare import cap_classes, drop_columns, make_tensors, normalize, split

Prepare = Callable[..., tuple[Path, list[DictConfig]]]


def test_tensors_are_those_of_the_stages(prepared: Prepare, small_params: DictConfig) -> None:
    home, folds = prepared(3)
    small_params.split.fold = 1
    for stage in (drop_columns, split, normalize, cap_classes, make_tensors):
        stage.run(small_params)
    for name in ("train/00000.pt", "val/00000.pt", "test/00000.pt", "preprocessor.json", "schema.json"):
        paths = (Path(params.paths.processed) / name for params in (folds[1], small_params))
        assert len({*map(sha256, paths)}) == 1
    names = {str(path.relative_to(home / "fold_1")) for path in (home / "fold_1").rglob("*.csv")}
    assert names == {"interim/split.csv"}, "tables that nothing reads any more are removed"


def test_tensors_are_made_once_and_again_if_what_decides_changes(
    prepared: Prepare, small_params: DictConfig
) -> None:
    home, _ = prepared(2)
    before = (home / "fold_0").stat().st_ino
    assert prepared(2)[0] == home
    assert (home / "fold_0").stat().st_ino == before
    small_params.split.fold, small_params.paths.reports = 1, "elsewhere"
    assert choose_home(small_params) == home
    raw = Path(small_params.paths.raw)
    changes = (
        lambda: small_params.update(seed=1),
        lambda: small_params.split.update(val_size=0.3),
        lambda: small_params.cap_classes.update(max_per_class=5),
        lambda: raw.write_text(raw.read_text() + "9,1,0,0,100.0,1\n"),
    )
    homes = [home]
    for change in changes:
        change()
        homes.append(choose_home(small_params))
    assert len({*homes}) == len(homes)


def test_a_fold_that_fails_leaves_nothing(prepared: Prepare, small_params: DictConfig) -> None:
    with pytest.raises(ValueError, match=r"split\.val_size must be between 0 and 1; got 2"):
        prepared(2, val_size=2.0)
    home = choose_home(small_params)
    assert {path.name for path in home.iterdir()} == {"table", "table.lock", "fold_0.lock"}


def test_a_missing_table_has_the_usual_hint(small_params: DictConfig) -> None:
    with pytest.raises(FileNotFoundError, match=r'raw\.csv must exist; .*; run "make repro" first'):
        choose_home(small_params)


def test_the_half_written_fold_of_a_killed_process_is_replaced(
    prepared: Prepare, small_params: DictConfig, raw_table: Path
) -> None:
    small_params.split.n_folds = 2
    home = choose_home(small_params)
    prepare_table(small_params, home)
    left = home / ".fold_0.abcdefgh.tmp" / "fold_0"
    left.mkdir(parents=True)
    (left / "preprocessor.json").write_text("half")
    _, (first, _) = prepared(2)
    prepare_fold(first)
    assert not left.exists()
    assert np.all([path.name[0] != "." for path in home.iterdir()])
