"""Made-up sweeps, recorded as real ones are."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from canopy.sweep.storage import open_storage

LR, DROPOUT, MODEL = "model.optimizer.lr", "model.net.dropout", "model"
SPACE = {
    LR: FloatDistribution(1e-4, 1e-1, log=True),
    DROPOUT: FloatDistribution(0.0, 0.5),
    MODEL: CategoricalDistribution(["mlp", "mlp_periodic"]),
}
# Optuna's times are without a zone.
START = datetime(2026, 1, 31, 12, 0, 0)  # noqa: DTZ001


def _make_study(
    url: str,
    name: str = "a",
    *,
    directions: tuple[str, ...] = ("maximize",),
    monitor: tuple[str, ...] = ("val/accuracy",),
) -> optuna.Study:
    study = optuna.create_study(study_name=name, storage=open_storage(url), directions=list(directions))
    study.set_user_attr("monitor", list(monitor))
    return study


def _add_trial(
    study: optuna.Study,
    *values: float,
    state: TrialState = TrialState.COMPLETE,
    params: Mapping[str, Any] | None = None,
    curve: tuple[float, ...] = (),
    violations: tuple[float, ...] = (),
    **attributes: Any,
) -> None:
    """Add a trial; keys of attributes may be dotted through `**{...}`."""
    params = {LR: 0.01} if params is None else dict(params)
    started = None if state is TrialState.WAITING else START
    study.add_trial(
        FrozenTrial(
            number=-1,
            trial_id=-1,
            state=state,
            value=None,
            values=values or None,
            datetime_start=started,
            datetime_complete=START + timedelta(seconds=10) if state.is_finished() else None,
            params=params,
            distributions={key: SPACE[key] for key in params},
            user_attrs=attributes,
            system_attrs={f"constraints:{i}": violation for i, violation in enumerate(violations)},
            intermediate_values=dict(enumerate(curve)),
        )
    )


@pytest.fixture
def mixed(url: str) -> str:
    """A storage with the sweep `a`, which has a trial in every state."""
    study = _make_study(url)
    _add_trial(study, 0.5, params={LR: 0.001, DROPOUT: 0.1}, curve=(0.25, 0.5), run="logs/x/0")
    _add_trial(study, 0.75, params={LR: 0.01, DROPOUT: 0.0}, curve=(0.5, 0.75), run="logs/x/1")
    _add_trial(study, state=TrialState.PRUNED, params={LR: 0.0001, DROPOUT: 0.5}, curve=(0.125,))
    _add_trial(study, state=TrialState.FAIL, params={LR: 0.1, DROPOUT: 0.25}, reason="no <b>loss</b>")
    _add_trial(study, state=TrialState.FAIL, params={}, surplus=True)
    _add_trial(study, state=TrialState.RUNNING, params={LR: 0.02, DROPOUT: 0.0}, curve=(0.5,))
    _add_trial(study, state=TrialState.WAITING, params={}, retry_of=3)
    return url


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sweeps.db"


@pytest.fixture
def make_study() -> Callable[..., optuna.Study]:
    return _make_study


@pytest.fixture
def add_trial() -> Callable[..., None]:
    return _add_trial
