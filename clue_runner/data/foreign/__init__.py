"""Files that are in no task's layout: what they are, what they hold, and how they become records."""
