"""COCO-format data on disk: find, check, load and generate it."""
