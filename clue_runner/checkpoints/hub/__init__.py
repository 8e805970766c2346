"""Models by name from the Hugging Face hub: downloaded once, pinned by commit and SHA-256, then offline."""
