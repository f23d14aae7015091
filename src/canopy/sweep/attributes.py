"""Names of what a study and its trials hold besides points and values: Optuna's user attributes."""

# Of a study: names of its objectives, folder of its runs, script in src/ that runs a trial.
MONITOR, FOLDER, SCRIPT = "monitor", "folder", "script"

# Of a trial: who runs it, and when that process last said so.
WORKER, HEARTBEAT = "worker", "alive"
# The folder of its run, whether the pruner stopped it, why it failed.
RUN, PRUNED, REASON = "run", "pruned", "reason"
# Whether its process died, the trial it repeats, how often that has been tried.
KILLED, RETRY_OF, N_RETRIES = "killed", "retry_of", "n_retries"
# One too many, which was not run; one that another study did.
SURPLUS, FROM_STUDY = "surplus", "from_study"

TRIAL_ATTRIBUTES = frozenset(
    (WORKER, HEARTBEAT, RUN, PRUNED, REASON, KILLED, RETRY_OF, N_RETRIES, SURPLUS, FROM_STUDY)
)
