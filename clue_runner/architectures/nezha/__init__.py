"""NEZHA: fixed vectors of distances, added to keys and values, in the place of a table of positions."""
