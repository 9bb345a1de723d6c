"""Backbones with multi-scale stage features.

A new one is a file here, and a line in `registries.MODULES`. With published weights, it also has a row in
`models/networks.py`, its layout in `weights/layouts.py`, and its files in `weights/catalogue.py`.
"""
