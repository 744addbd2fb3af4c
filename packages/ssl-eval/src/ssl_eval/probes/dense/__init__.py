"""Dense probes: segmentation and depth from frozen patch tokens."""
