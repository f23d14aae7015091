"""Sweeps: Optuna studies whose trials are training runs."""

# Environment variables that tell a job, in whichever process, which trial of which study it runs.
STORAGE_VARIABLE, STUDY_VARIABLE, TRIAL_VARIABLE = "CANOPY_STORAGE", "CANOPY_STUDY", "CANOPY_TRIAL"
