"""The plot of what smaller and faster models cost."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from canopy.export.compress.variants import Variant

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
MARKERS = ("o", "s", "^", "D")


def draw_variants(variants: Sequence[Variant], *, chosen: Variant, least: float) -> Figure:
    """Draw the test accuracy of each variant over its size and over its speed.

    Args:
        variants: The model itself first. A name is that of a model, with that of an arithmetic after a comma.
        chosen: The one that is served, with a ring around it.
        least: Lowest validation accuracy that may be chosen, drawn where test accuracy has lost as much.

    Returns:
        A figure that belongs to no window.
    """
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    bound = variants[0].accuracy - (variants[0].val_accuracy - least)
    _scatter(left, variants, [variant.n_bytes / 1e3 for variant in variants], chosen)
    _scatter(right, variants, [variant.speeds[0].rows_per_second / 1e3 for variant in variants], chosen)
    for axes in (left, right):
        axes.axhline(bound, color="0.4", linewidth=1, linestyle="--", label="budget")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12, y=0.12)
    left.set(xscale="log", xlabel="size of the graph, kB", ylabel="test accuracy")
    left.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.xaxis.set_major_formatter(ScalarFormatter())
    left.xaxis.set_minor_formatter(NullFormatter())
    right.set(xlabel="thousand rows per second, one thread")
    figure.legend(handles=_legend(variants, left), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"Smaller and faster models; served: {chosen.name}")
    return figure


def _kinds(variants: Sequence[Variant]) -> tuple[dict[str, str], dict[str, str]]:
    """Give each model a colour and each arithmetic a marker."""
    names = [variant.name.partition(", ") for variant in variants]
    models = dict.fromkeys(model for model, _, _ in names)
    arithmetics = dict.fromkeys(arithmetic for _, _, arithmetic in names)
    return dict(zip(models, COLORS, strict=False)), dict(zip(arithmetics, MARKERS, strict=False))


def _scatter(axes: Axes, variants: Sequence[Variant], places: list[float], chosen: Variant) -> None:
    colors, markers = _kinds(variants)
    for variant, place in zip(variants, places, strict=True):
        model, _, arithmetic = variant.name.partition(", ")
        if variant is chosen:
            axes.plot([place], [variant.accuracy], "o", markersize=17, color="0.3", markerfacecolor="none")
        axes.plot(
            [place],
            [variant.accuracy],
            markers[arithmetic],
            markersize=8,
            color=colors[model],
            label=variant.name,
        )


def _legend(variants: Sequence[Variant], axes: Axes) -> list[Line2D]:
    colors, markers = _kinds(variants)
    models = [Line2D([], [], color=color, linewidth=6, label=name) for name, color in colors.items()]
    arithmetics = [
        Line2D([], [], color="0.3", marker=marker, linestyle="", label=name or "float32")
        for name, marker in markers.items()
    ]
    ring = Line2D(
        [], [], color="0.3", marker="o", markersize=14, markerfacecolor="none", linestyle="", label="served"
    )
    budget = next(line for line in axes.lines if line.get_label() == "budget")
    return [*models, ring, *arithmetics, budget]
