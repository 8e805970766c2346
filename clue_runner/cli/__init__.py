"""One file per command: parse, call one function, print. The only place that sees argv."""
