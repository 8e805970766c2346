"""What executes items: local processes, SLURM, or Ray. All call ``attempt``; results are read from disk."""
