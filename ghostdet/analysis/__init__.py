"""Figures, tables and pictures from what a run leaves: pure functions over files."""
