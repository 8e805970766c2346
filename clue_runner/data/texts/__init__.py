"""Running text: files of any size as documents, and the texts of a task's records as such."""
