"""Checks of what a user hands to the loop: the method, the data, and state that a checkpoint does not hold."""
