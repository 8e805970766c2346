"""The only place that knows what a run folder holds: settings, events, states, results, as types."""
