"""ssl-launch: one command line for the laptop and the cluster."""

from ssl_launch.evaluation import evaluate
from ssl_launch.launch import launch, main

__all__ = ["evaluate", "launch", "main"]
