"""SLURM: batch script, submission, requeue and the worker process of a job."""
