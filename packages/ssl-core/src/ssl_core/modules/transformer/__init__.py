"""Parts of vision transformers."""
