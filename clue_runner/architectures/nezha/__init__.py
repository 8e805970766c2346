"""NEZHA: fixed vectors of distances, added to keys and values, in place of a table of positions."""
