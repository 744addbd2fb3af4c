"""Data sets of other libraries and of users as sources."""
