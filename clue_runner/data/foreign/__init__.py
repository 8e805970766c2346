"""Files in other layouts than a task's: what they are, what they hold, and how they become records."""
