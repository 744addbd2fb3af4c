"""Metrics of predictions, rankings and clusterings."""
