"""The data stages: from the raw table to tensors, one module for each stage of `dvc.yaml`."""
