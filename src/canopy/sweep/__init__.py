"""Sweeps: Optuna studies whose trials are training runs."""

# Environment variables that name the trial that a job runs, in whichever process.
STORAGE_VARIABLE, STUDY_VARIABLE, TRIAL_VARIABLE = "CANOPY_STORAGE", "CANOPY_STUDY", "CANOPY_TRIAL"

# Optuna's user attributes of a study: names of its objectives, folder of its runs, script that runs a trial.
MONITOR, FOLDER, SCRIPT = "monitor", "folder", "script"

# Of a trial: the process that runs it, and the time of that one's last heartbeat.
WORKER, HEARTBEAT = "worker", "alive"
# The folder of its run, whether the pruner stopped it, why it failed.
RUN, PRUNED, REASON = "run", "pruned", "reason"
# Whether its process died, the trial it repeats, how often that has been tried.
KILLED, RETRY_OF, N_RETRIES = "killed", "retry_of", "n_retries"
# One too many, which was not run; one of another study.
SURPLUS, FROM_STUDY = "surplus", "from_study"

TRIAL_ATTRIBUTES = frozenset(
    (WORKER, HEARTBEAT, RUN, PRUNED, REASON, KILLED, RETRY_OF, N_RETRIES, SURPLUS, FROM_STUDY)
)
