"""The only place where time passes: steps, epochs, saving, stopping, resuming."""
