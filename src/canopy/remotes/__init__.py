"""Where a team keeps its data: DVC's remote storage, set up and used with plain messages."""
