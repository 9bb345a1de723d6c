"""COCO-format data on disk: found, checked, read, generated."""
