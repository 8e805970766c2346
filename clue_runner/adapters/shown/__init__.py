"""How a page shows a record beside its answer: the part of each kind of task."""
