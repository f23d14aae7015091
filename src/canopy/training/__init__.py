"""Training a net: the LightningModule, the run around it and its checkpoints."""
