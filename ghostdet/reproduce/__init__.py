"""Reproduces the paper's table 9: training runs, time forecast, and the table."""
