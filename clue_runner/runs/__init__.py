"""The only place that knows the content of a run folder: settings, events, states, results, as types."""
