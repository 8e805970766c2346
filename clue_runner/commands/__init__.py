"""What each command does, named as in cli/. Knows nothing about argv."""
