"""Measurements of networks: cost, speed and redundancy, with their tables and pictures."""
