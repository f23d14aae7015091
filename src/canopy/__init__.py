"""Canopy: a PyTorch Lightning experiment framework for tabular learning."""

import os

# Before Arrow is imported: in huge pages, its allocator holds more memory, and takes no less time.
os.environ.setdefault("MIMALLOC_ALLOW_THP", "0")

__version__ = "0.1.0"
