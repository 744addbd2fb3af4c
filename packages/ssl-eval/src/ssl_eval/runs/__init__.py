"""Readers of run folders. No torch is imported here."""
