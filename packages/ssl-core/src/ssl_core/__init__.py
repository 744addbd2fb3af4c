"""ssl_core."""
