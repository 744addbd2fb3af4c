"""Sweeps on this machine: one process for each run."""
