"""Published weights and our own: one name table, readers, an importer that reports every tensor."""
