"""Corruptions of ImageNet-C, computed on the fly (Hendrycks & Dietterich 2019, https://arxiv.org/abs/1903.12261)."""
