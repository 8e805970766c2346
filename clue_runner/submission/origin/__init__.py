"""Which run has made a submission file."""
