"""COCO's numbers of a run, the AP that it should reach, its curves and pictures."""
