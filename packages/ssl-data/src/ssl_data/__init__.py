"""ssl_data."""
