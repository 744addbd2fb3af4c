"""Look at data before training: a report of a data set, and a picture of its views."""
