"""Who works on items: processes here, SLURM, or Ray. All call ``attempt``; results are read from the disk."""
