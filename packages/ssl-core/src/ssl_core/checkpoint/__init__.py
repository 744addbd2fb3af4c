"""Checkpoints: writing and reading them, export, and weights from elsewhere."""
