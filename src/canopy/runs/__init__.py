"""All that wraps `Trainer.fit`: a run's folder, record, resume, reproduction, copies."""
