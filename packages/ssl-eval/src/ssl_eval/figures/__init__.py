"""Figures for a column of a paper: each function draws plain numbers, ``style.save`` writes what it drew."""
