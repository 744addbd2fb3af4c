"""Probes: classifiers and regressions on frozen features."""
