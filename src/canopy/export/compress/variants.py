"""What is known of each way to make a model smaller, and which of them is served."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

# Single precision alone differs by some 1e-6; a step of eight bits by 1e-3 and more.
MAX_ROW_DIFFERENCE = 1e-4
# Ends the name of a graph whose ranges are those of each batch: few rows may not show how they depend on it.
DYNAMIC = "int8 dynamic"


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast a graph predicts on the processor.

    Attributes:
        n_threads: Threads of a call.
        one_row_us: Median time of a call with one row, in microseconds.
        batch_ms: Median time of a call with 1,024 rows, in milliseconds.
        rows_per_second: Rows in calls of 1,024.
    """

    n_threads: int
    one_row_us: float
    batch_ms: float
    rows_per_second: int


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A model and what it costs.

    Attributes:
        name: Short name.
        how: How it was made.
        n_bytes: Size of its graph's file.
        val_accuracy: On validation rows; it decides.
        val_nll: On validation rows, in nats, with the temperature that is served; it decides too.
        accuracy: On test rows, as are the following.
        macro_f1: Mean F1 of the classes.
        rarest_recall: Recall of the class with the fewest training rows.
        nll: Negative log-likelihood, in nats.
        row_difference: Largest difference of a probability between a row alone and the same row among
            others. Where ranges are those of each batch, a prediction depends on its neighbours.
        speeds: With one thread, and with one on each core.
    """

    name: str
    how: str
    n_bytes: int
    val_accuracy: float
    val_nll: float
    accuracy: float
    macro_f1: float
    rarest_recall: float
    nll: float
    row_difference: float
    speeds: list[Speed]


def choose(variants: Sequence[Variant], *, max_accuracy_drop: float, max_nll_increase: float) -> Variant:
    """Choose the smallest batch-invariant graph that loses little; of two equal ones the more accurate.

    The size decides, not the speed: it is the same on each machine and in each run.

    Args:
        variants: The first is the model itself, which is chosen if no other is within the budget.
        max_accuracy_drop: How much lower a variant's validation accuracy may be.
        max_nll_increase: How much higher its negative log-likelihood on validation rows may be, in nats.
    """
    whole, *others = variants
    fitting = [
        variant
        for variant in others
        if variant.val_accuracy >= whole.val_accuracy - max_accuracy_drop
        and variant.val_nll <= whole.val_nll + max_nll_increase
        and variant.row_difference <= MAX_ROW_DIFFERENCE
        and not variant.name.endswith(DYNAMIC)
    ]
    return min([whole, *fitting], key=lambda variant: (variant.n_bytes, -variant.val_accuracy))


def pareto_front(variants: Sequence[Variant]) -> list[str]:
    """Name the variants that no other beats: as accurate, as small and as fast, and better in one of these.

    Accuracy is that of the test rows, speed that of 1,024 rows in one thread.
    """

    def costs(variant: Variant) -> tuple[float, float, float]:
        return (-variant.accuracy, variant.n_bytes, variant.speeds[0].batch_ms)

    def beats(a: Variant, b: Variant) -> bool:
        return costs(a) != costs(b) and all(x <= y for x, y in zip(costs(a), costs(b), strict=True))

    return [one.name for one in variants if not any(beats(other, one) for other in variants)]


def compare(variants: Sequence[Variant]) -> list[dict[str, Any]]:
    """Compare each variant with the first.

    Returns:
        Its attributes, and `accuracy_drop` on test rows, `times_smaller`, `times_faster` (1,024 rows, one
        thread).
    """
    first = variants[0]
    return [
        {
            **asdict(variant),
            "accuracy_drop": round(first.accuracy - variant.accuracy, 6),
            "times_smaller": round(first.n_bytes / variant.n_bytes, 2),
            "times_faster": round(first.speeds[0].batch_ms / variant.speeds[0].batch_ms, 2),
        }
        for variant in variants
    ]
