"""Loading of batches: order of an epoch, prefetching, reuse of memory."""
