"""Confidence intervals, significance tests and rank correlations."""
