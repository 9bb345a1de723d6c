"""Read, turn, list, draw and write images: the same code for training, evaluation and exported files."""
