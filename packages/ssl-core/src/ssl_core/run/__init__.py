"""The run folder: configuration, lock, summary, environment and signals. Nothing here imports torch."""
