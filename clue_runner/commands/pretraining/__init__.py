"""What pre-training leaves behind: a checkpoint folder and its card."""
