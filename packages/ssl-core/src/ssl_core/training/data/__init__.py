"""The data of a run: what a data configuration provides, its checks, its record, and its batches."""
