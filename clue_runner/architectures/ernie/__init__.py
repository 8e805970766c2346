"""ERNIE 1.0 and 3.0: BERT with a task-type table in addition to the segment table."""
