"""Pages, tables and cards that people read, made from what run folders hold."""
