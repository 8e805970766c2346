"""ERNIE 1.0 and 3.0: BERT with a table of task types beside that of segments."""
