"""The commands that take a configuration: train, evaluate, views."""
