"""Sums and searches over the similarities of a batch, tile by tile."""
