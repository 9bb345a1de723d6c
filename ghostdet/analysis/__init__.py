"""Measurements, one file each: what is counted or timed, and its tables and pictures."""
