"""Models by their names on the Hugging Face hub: fetched once, pinned by commit and sha256, offline after."""
