"""Metrics out of a run: metrics.jsonl, progress bar, throughput, profiler, wandb."""
