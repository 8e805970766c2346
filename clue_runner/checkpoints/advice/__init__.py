"""What is wrong with a checkpoint that cannot be used, and what helps."""
