"""From the tensors that the pipeline made to batches for a Trainer."""
