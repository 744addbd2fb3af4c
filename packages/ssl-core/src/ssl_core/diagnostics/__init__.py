"""Diagnosis of a run: non-finite values, representation collapse, replay of a step."""
