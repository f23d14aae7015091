"""The frozen model: one folder that takes raw rows and gives probabilities, without torch."""

import os

# Otherwise ONNX Runtime reports to its makers where it runs.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
