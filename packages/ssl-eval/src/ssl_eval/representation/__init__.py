"""Measures of features that need no labels, clusters and 2-D projections."""
