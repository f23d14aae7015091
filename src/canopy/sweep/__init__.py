"""Sweeps: Optuna studies whose trials are training runs."""

# Environment variables that name the trial that a job runs, in whichever process.
STORAGE_VARIABLE, STUDY_VARIABLE, TRIAL_VARIABLE = "CANOPY_STORAGE", "CANOPY_STUDY", "CANOPY_TRIAL"
