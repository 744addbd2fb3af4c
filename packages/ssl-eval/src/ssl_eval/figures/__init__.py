"""Figures of the width of a paper column, drawn from plain numbers."""
