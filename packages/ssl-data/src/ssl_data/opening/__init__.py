"""Opening of data: from a configuration to the loaders of one rank."""
