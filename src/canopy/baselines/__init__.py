"""Models of other kinds on a run's very rows, to compare a net with."""
