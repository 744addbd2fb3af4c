"""Pictures of an evaluation, drawn from the images of a run."""
