"""Make the reference of an exported file's self-check: what the network answers to a generated picture."""
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ghostdet.deploy.program import DetectorProgram
from ghostdet.infer.exported import NetworkInput
from ghostdet.infer.manifest import Manifest
from ghostdet.infer.self_check import Reference, answer, differences, picture, picture_shape, rms, sampled
from ghostdet.infer.sessions import Session

SHAPES, PIXELS = 60, 2000  # shapes in the picture; pixels of each image whose colours are looked at
KINDS = {1: ('cells',), 2: ('scores', 'boxes'), 3: ('scores', 'boxes', 'objectness')}  # by number of parts
RPN_KINDS = ('objectness', 'boxes')


def colours_of(images: Sequence[NetworkInput]) -> tuple[tuple[int, int, int], ...]:
    """Return colours for the picture, drawn from a normal distribution with the mean and covariance of the images'."""
    random = np.random.RandomState(0)
    pixels = np.concatenate([image.canvas[0, :image.size[0], :image.size[1]].reshape(-1, 3) for image in images])
    pixels = pixels[random.randint(len(pixels), size=PIXELS * len(images))].astype(float)
    drawn = random.multivariate_normal(pixels.mean(axis=0), np.cov(pixels.T), size=SHAPES)
    return tuple(map(tuple, [pixels.mean(axis=0).astype(int).tolist(), *drawn.clip(0, 255).astype(int).tolist()]))


@torch.no_grad()
def reference_of(program: DetectorProgram, manifest: Manifest, colours: tuple[tuple[int, int, int], ...]) -> Reference:
    """Return the answer of the network in PyTorch, in fp32."""
    shape = picture_shape(manifest)
    size = torch.tensor(shape)
    maps = program.maps(torch.from_numpy(picture(shape, colours)[None]), size)
    parts = program.parts(maps)
    kinds = KINDS[len(parts)] if parts is maps else RPN_KINDS
    levels = [level.numpy() for part in parts for level in part]
    boxes, scores, labels = (part.numpy() for part in program.boxes(maps, size))
    return Reference.of(colours, kinds, levels, (boxes, scores, labels))


def with_own_errors(manifest: Manifest, session: Session) -> Manifest:
    """Return the manifest of a quantized file with how far the file itself is from its reference."""
    reference = Reference(**manifest.reference or {})
    groups = differences(sampled(answer(session, reference.colours)[0]), reference, manifest.classes)
    errors = {name: round(rms(values), 4) for name, values in groups.items()}
    return replace(manifest, reference=replace(reference, errors=errors).to_dict())
