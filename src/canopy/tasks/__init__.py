"""What a kind of target brings: scores, calibration, plots."""
