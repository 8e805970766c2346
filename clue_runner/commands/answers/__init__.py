"""Commands that answer with a finished run, or score answers: predict, ask, evaluate."""
