"""The Hydra application: from a command line to a validated configuration."""
