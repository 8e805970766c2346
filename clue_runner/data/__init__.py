"""Files to records: cards, downloads, readers, checks. Knows nothing about tokens."""
