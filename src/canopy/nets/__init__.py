"""Plain nets: features in, logits out, nothing about training."""
