"""Evaluation on other data than the test images of a run: corrupted images, other data sets, folders of masks."""
