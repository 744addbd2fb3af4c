"""Ranks: process group, gradient synchronisation, FSDP, synchronised batch normalisation."""
