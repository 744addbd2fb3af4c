"""State of losses: queues, centres, prototypes, directions, learned scales."""
