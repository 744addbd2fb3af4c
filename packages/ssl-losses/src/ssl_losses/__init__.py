"""ssl_losses."""
