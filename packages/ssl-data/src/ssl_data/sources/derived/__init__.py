"""Sources that are made of other sources: parts, other labels, another range."""
