"""What tests of several rooms share and no fixture can be; pyproject.toml puts it on the path."""
