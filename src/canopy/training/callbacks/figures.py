"""Where plots go."""

from pathlib import Path

from lightning import Trainer
from matplotlib.figure import Figure

from canopy.files import atomic_write
from canopy.training.callbacks.hyperparameters import tensorboards, trackers
from canopy.training.loggers.tracker import Tracker


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, atomically."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def log_figure(trainer: Trainer, name: str, figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, and show it in TensorBoard and in tracking servers."""
    save_figure(figure, path)
    # The last step, of the scores: a resumed run leaves out later ones.
    step = max(trainer.global_step - 1, 0)
    for logger in tensorboards(trainer):
        logger.experiment.add_figure(name, figure, step)
    for tracker in trackers(trainer):
        if isinstance(tracker, Tracker):
            tracker.log_plot(name, path, step)
