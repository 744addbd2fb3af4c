"""Evaluation: online metrics and probes during training, the final report, and saved checkpoints."""
