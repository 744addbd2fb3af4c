"""SLURM: batch script, submission, requeue, and the process of a job."""
