"""Scores of linear models, beside which a network's score is read."""
