"""Pages, tables and cards for people, made from the contents of run folders."""
