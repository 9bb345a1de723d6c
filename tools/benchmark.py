"""Compare the speed of backbones, detectors, exported files, image loading and COCO evaluation."""
import sys

from ghostdet.cli import benchmark, door

if __name__ == '__main__':
    sys.exit(door.run(benchmark.main))
