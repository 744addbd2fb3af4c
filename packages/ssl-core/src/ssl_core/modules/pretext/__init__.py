"""Tasks and targets that are computed from the images: puzzles, rotations, gradients."""
