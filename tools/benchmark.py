"""How fast things are, beside each other: backbones, detectors, exported files, image loading, COCO's evaluation."""
import sys

from ghostdet.cli import benchmark, door

if __name__ == '__main__':
    sys.exit(door.run(benchmark.main))
