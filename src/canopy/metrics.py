"""Which metrics are better when lower."""

# Of all other metrics, higher is better.
LOWER_IS_BETTER = ("nll", "ece", "brier", "rmse", "mae", "mape", "mean_width", "cost", "false_positive_rate")


def mode_of(metric: str) -> str:
    """Give whether the best value of a metric, such as `val/nll`, is its lowest (min) or highest (max)."""
    return "min" if metric.removeprefix("val/") in LOWER_IS_BETTER else "max"
