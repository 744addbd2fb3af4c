"""From a configuration to the loaders of a rank."""
