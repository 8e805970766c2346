"""What ``clue bench`` does: plan, run and collect whole benchmarks."""
