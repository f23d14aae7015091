"""The plot of what smaller and faster models cost."""

from collections.abc import Sequence
from typing import Any

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
    kinds = [(model, arithmetic) for model, _, arithmetic in (one.name.partition(", ") for one in variants)]
    models, arithmetics = (dict.fromkeys(names) for names in zip(*kinds, strict=True))
    colors, markers = dict(zip(models, COLORS, strict=False)), dict(zip(arithmetics, MARKERS, strict=False))
    ring: dict[str, Any] = {"linestyle": "", "marker": "o", "color": "0.3", "markerfacecolor": "none"}
    bound = variants[0].accuracy - (variants[0].val_accuracy - least)

    figure = Figure(figsize=(10, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes in (left, right):
        for variant, (model, arithmetic) in zip(variants, kinds, strict=True):
            thousand_rows = variant.speeds[0].rows_per_second / 1e3
            point = [variant.n_bytes / 1e3 if axes is left else thousand_rows], [variant.accuracy]
            if variant is chosen:
                axes.plot(*point, markersize=17, **ring)
            style = {"marker": markers[arithmetic], "color": colors[model], "markersize": 8}
            axes.plot(*point, label=variant.name, **style)
        budget = axes.axhline(bound, color="0.4", linewidth=1, linestyle="--", label="budget")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12, y=0.12)
    left.set(xscale="log", xlabel="size of the graph, kB", ylabel="test accuracy")
    left.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.xaxis.set_major_formatter(ScalarFormatter())
    left.xaxis.set_minor_formatter(NullFormatter())
    right.set(xlabel="thousand rows per second, one thread")

    handles = [Line2D([], [], color=color, linewidth=6, label=name) for name, color in colors.items()]
    handles.append(Line2D([], [], markersize=14, label="served", **ring))
    for name, marker in markers.items():
        handles.append(Line2D([], [], color="0.3", marker=marker, linestyle="", label=name or "float32"))
    figure.legend(handles=[*handles, budget], loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"Smaller and faster models; served: {chosen.name}")
    return figure
