"""ssl_launch."""
