"""The picture of what smaller and faster models cost."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from canopy.compress.variants import Variant

CHOSEN, OTHER, BOUND = "#D55E00", "#0072B2", "0.6"


def draw_variants(variants: Sequence[Variant], *, chosen: Variant, least: float) -> Figure:
    """Draw the test accuracy of each variant over its size and over its speed.

    Args:
        variants: The model itself first.
        chosen: The one that is served.
        least: Lowest validation accuracy that may be chosen, drawn where test accuracy has lost as much.

    Returns:
        A figure that belongs to no window.
    """
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    bound = variants[0].accuracy - (variants[0].val_accuracy - least)
    for axes in (left, right):
        axes.axhline(bound, color=BOUND, linewidth=1, linestyle="--")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.22, y=0.12)
    _scatter(left, variants, [variant.n_bytes / 1e3 for variant in variants], chosen)
    left.set(xscale="log", xlabel="size of the graph, kB", ylabel="test accuracy")
    _scatter(right, variants, [variant.speeds[0].rows_per_second / 1e3 for variant in variants], chosen)
    right.set(xlabel="thousand rows per second, one thread")
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    left.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    left.annotate("budget", (0.01, bound), xycoords=("axes fraction", "data"), color="0.4", va="bottom")
    figure.suptitle(f"Smaller and faster models; served: {chosen.name}")
    return figure


def _scatter(axes: Axes, variants: Sequence[Variant], places: list[float], chosen: Variant) -> None:
    for variant, place in zip(variants, places, strict=True):
        color = CHOSEN if variant is chosen else OTHER
        axes.plot([place], [variant.accuracy], marker="o", color=color)
        axes.annotate(
            variant.name, (place, variant.accuracy), xytext=(6, 4), textcoords="offset points", color=color
        )
