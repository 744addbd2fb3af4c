"""Images with a map of their pixels: masks for segmentation, depth maps."""
