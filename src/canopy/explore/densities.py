"""Estimate how a numeric column is distributed in each class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

N_BINS = 96
# Smoothing in bins when all of them are used: enough to close the comb that rounded values leave.
SMOOTHING = 1.5
# Every class is shown between these quantiles of its own, so that a far tail does not squeeze the rest.
SHOWN = (0.005, 0.995)


@dataclass(frozen=True, kw_only=True)
class ClassDensities:
    """Densities of one column, class by class.

    Attributes:
        edges: Limits of the bins in the column's unit, ascending, shape (n_bins + 1,).
        densities: Share of the class's rows per unit, shape (n_classes, n_bins); 0 for an empty class.
        medians: In the column's unit, shape (n_classes,); NaN for an empty class.
    """

    edges: NDArray[np.float64]
    densities: NDArray[np.float64]
    medians: NDArray[np.float64]


def class_densities(values: NDArray[np.float64], codes: NDArray[np.int64], n_classes: int) -> ClassDensities:
    """Compute smoothed histograms of a numeric column for each class, on common bins.

    Args:
        values: Values of the column, shape (n_rows,); NaN where one is missing, but at least one is there.
        codes: Class of each row, from 0 on, shape (n_rows,).
        n_classes: Number of classes.

    Returns:
        Densities over the range in which the bulk of every class lies. Bins of a column of whole
        numbers hold a whole number of values each; of rows outside the range none is shown.
    """
    present = ~np.isnan(values)
    values, codes = values[present], codes[present]
    quantiles = np.full((n_classes, 3), np.nan)
    for code in range(n_classes):
        of_class = values[codes == code]
        if of_class.size:
            quantiles[code] = np.quantile(of_class, (SHOWN[0], 0.5, SHOWN[1]))
    low, high = float(np.nanmin(quantiles[:, 0])), float(np.nanmax(quantiles[:, 2]))
    if (values == np.rint(values)).all():
        low, high = np.floor(low), np.ceil(high)
        width = np.ceil((high - low + 1) / N_BINS)
        n_bins = int(np.ceil((high - low + 1) / width))
        low -= 0.5
    else:
        n_bins = N_BINS
        width = (high - low) / n_bins or 1.0
    bins = np.clip(np.floor((values - low) / width), -1, n_bins).astype(np.int64)
    # One more bin on either side takes what is out of range.
    cells = codes * (n_bins + 2) + bins + 1
    counts = np.bincount(cells, minlength=n_classes * (n_bins + 2)).reshape(n_classes, n_bins + 2)
    n_rows = np.bincount(codes, minlength=n_classes)
    densities = counts[:, 1:-1] / (np.maximum(n_rows, 1)[:, None] * width)
    smooth = gaussian_filter1d(densities, SMOOTHING * n_bins / N_BINS, axis=1, mode="reflect")
    edges = low + np.arange(n_bins + 1) * width
    return ClassDensities(edges=edges, densities=smooth, medians=quantiles[:, 1])
