"""One file per layout: bytes of a split to records. Knows nothing about where the bytes come from."""
