"""How a page shows a record beside its answer: what each kind of task fills in."""
