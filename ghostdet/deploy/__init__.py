"""A trained detector as a fast, portable program."""
