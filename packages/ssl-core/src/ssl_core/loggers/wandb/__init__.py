"""Weights & Biases: live upload, and upload of a finished run folder."""
