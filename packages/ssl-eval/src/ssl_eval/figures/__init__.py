"""Figures of the width of a paper column. Each function draws plain numbers; ``style.save`` writes the figure."""
