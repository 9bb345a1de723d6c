"""A trained detector in use: in Python, on folders and videos, and on a page to try it."""
