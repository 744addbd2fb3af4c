"""Figures that show images."""
