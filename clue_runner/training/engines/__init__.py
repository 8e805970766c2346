"""One compiled step per backend behind the protocol in base.py."""
