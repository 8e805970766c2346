"""Predictions and records to scores in percent."""
