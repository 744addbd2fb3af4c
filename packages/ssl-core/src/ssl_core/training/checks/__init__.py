"""Checks of what a user hands to the loop: the method, the process, and state that a checkpoint does not hold."""
