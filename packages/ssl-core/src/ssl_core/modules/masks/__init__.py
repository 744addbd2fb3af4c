"""Masks over the patches of a vision transformer."""
