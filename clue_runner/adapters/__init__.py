"""The only place that sees a record, its rows and its tensors at once; base.py is the overview."""
