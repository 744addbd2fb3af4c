"""Views: presets, parameters drawn for each sample, and the backends that compute them."""
