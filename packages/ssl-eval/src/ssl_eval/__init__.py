"""ssl_eval."""
