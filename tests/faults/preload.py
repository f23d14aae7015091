"""Imported once, by the process that all commands of the suite are forks of."""

import gc
import importlib

from hydra.core.plugins import Plugins

for name in (
    *("canopy.explore.explore", "canopy.prepare.fetch", "canopy.prepare.split", "canopy.prepare.compose"),
    *("canopy.prepare.make_tensors", "canopy.prepare.normalize", "canopy.prepare.cap_classes"),
    *("canopy.runs.entry", "canopy.export.predict", "canopy.runs.fit", "canopy.evaluation.evaluate"),
    *("canopy.export.export", "canopy.export.compress.compress"),
):
    importlib.import_module(name)
# Hydra looks for its plugins once a process.
Plugins.instance()
# What is imported stays: a fork that looked through it for garbage would take twice as long.
gc.freeze()
