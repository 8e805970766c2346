"""Bytes and names that can be relied on. Knows nothing about runs, data or tasks."""
