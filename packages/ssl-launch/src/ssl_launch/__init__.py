"""ssl-launch: one command line for the laptop and the cluster."""

from ssl_launch.launch import launch, main

__all__ = ["launch", "main"]
