"""Evaluation on other data than the test images of a run: corruptions, other data sets, masks, landmarks, texts."""
