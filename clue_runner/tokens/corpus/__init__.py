"""Running text as token rows on disk, and the masks that are drawn over them."""
