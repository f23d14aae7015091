"""The state of the sampler `cmaes`, which Optuna keeps pickled in the study: read as data alone."""

import io
import pickle
from collections.abc import Sequence
from typing import Any

from optuna.samplers import CmaEsSampler
from optuna.trial import FrozenTrial

# All that such a state consists of.
PARTS = frozenset(
    {
        ("cmaes._cma", "CMA"),
        ("cmaes._cmawm", "CMAwM"),
        ("cmaes._sepcma", "SepCMA"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
    }
)


class _Reader(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in PARTS:
            raise ValueError(
                "The study must hold the state of the sampler cmaes and nothing else; found "
                f"{module_name}.{global_name}: do not go on with it, start a new study"
            )
        return super().find_class(module_name, global_name)


def restore_optimizer(sampler: CmaEsSampler, trials: Sequence[FrozenTrial]) -> Any:
    """Give the optimiser that the newest trial holds, as `CmaEsSampler._restore_optimizer` does.

    Args:
        sampler: The sampler.
        trials: Complete trials, the oldest first.

    Returns:
        The optimiser; None if no trial holds one.

    Raises:
        ValueError: If the state has other parts than `PARTS`; nothing of it is executed.
    """
    key = sampler._attr_key_optimizer  # noqa: SLF001 - what is replaced is Optuna's own method
    for trial in reversed(trials):
        parts = {name: text for name, text in trial.system_attrs.items() if name.startswith(key)}
        if parts:
            state = bytes.fromhex(sampler._concat_optimizer_attrs(parts))  # noqa: SLF001
            return _Reader(io.BytesIO(state)).load()
    return None
