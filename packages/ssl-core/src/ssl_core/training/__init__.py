"""Parts of the training loop: what is due, precision, freezing, early stopping, checks of data and methods."""
