"""All that stands around `Trainer.fit`: a run's folder, record, resume, reproduction, copies."""
