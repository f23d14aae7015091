"""Made-up sweeps, recorded as real ones are."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from canopy.sweep.storage import open_storage

LR, DROPOUT = "model.optimizer.lr", "model.net.dropout"
SPACE = {LR: FloatDistribution(1e-4, 1e-1, log=True), DROPOUT: FloatDistribution(0.0, 0.5)}


def _add_trial(
    study: optuna.Study,
    *values: float,
    state: TrialState = TrialState.COMPLETE,
    params: dict[str, Any] | None = None,
    curve: tuple[float, ...] = (),
    violations: tuple[float, ...] = (),
    **attributes: Any,
) -> None:
    params = {LR: 0.01} if params is None else params
    trial = optuna.create_trial(
        state=state,
        values=values or None,
        params=params,
        distributions={key: SPACE[key] for key in params},
        user_attrs=attributes,
        constraints={str(number): violation for number, violation in enumerate(violations)},
        intermediate_values=dict(enumerate(curve)),
    )
    if state.is_finished():
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=10)
    study.add_trial(trial)


@pytest.fixture
def add_trial() -> Callable[..., None]:
    return _add_trial


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sweeps.db"


@pytest.fixture
def make_study(url: str) -> Callable[..., optuna.Study]:
    """Give a function that records a study with a complete trial for each value, or tuple of them."""

    def make(
        *trials: float | tuple[float, ...],
        name: str = "a",
        directions: tuple[str, ...] = ("maximize",),
        monitor: tuple[str, ...] = ("val/accuracy",),
    ) -> optuna.Study:
        study = optuna.create_study(study_name=name, storage=open_storage(url), directions=[*directions])
        study.set_user_attr("monitor", [*monitor])
        for values in trials:
            _add_trial(study, *(values if isinstance(values, tuple) else (values,)))
        return study

    return make


@pytest.fixture
def mixed(make_study: Callable[..., optuna.Study]) -> optuna.Study:
    """A sweep that has a trial in every state."""
    study = make_study()
    _add_trial(study, 0.5, params={LR: 0.001, DROPOUT: 0.1}, curve=(0.25, 0.5), run="logs/x/0")
    _add_trial(study, 0.75, params={LR: 0.01, DROPOUT: 0.0}, curve=(0.5, 0.75), run="logs/x/1")
    _add_trial(study, state=TrialState.PRUNED, params={LR: 0.0001, DROPOUT: 0.5}, curve=(0.125,))
    _add_trial(study, state=TrialState.FAIL, params={LR: 0.1, DROPOUT: 0.25}, reason="no <b>loss</b>")
    _add_trial(study, state=TrialState.FAIL, params={}, surplus=True)
    _add_trial(study, state=TrialState.RUNNING, params={LR: 0.02, DROPOUT: 0.0}, curve=(0.5,))
    _add_trial(study, state=TrialState.WAITING, params={}, retry_of=3)
    return study
