"""What a check reports of a data set: a count and the first names."""
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ghostdet.messages import brief

SHOWN = 5  # names that a note shows; it counts the rest
MAX_TEXT = 200  # characters of a name that a note shows


@dataclass(frozen=True)
class Note:
    """One kind of remark: what it is about, how often it applies, and the first names."""

    what: str
    count: int
    names: tuple[str, ...]

    def to_text(self) -> str:
        """Return one line."""
        more = ', ...' if self.count > len(self.names) else ''
        return f'{self.what}: {self.count}' + (f' ({", ".join(self.names)}{more})' if self.names else '')


def note(what: str, names: Iterable[Any]) -> list[Note]:
    """Return a note on `names`, in a list that is empty if there are none."""
    texts = [str(name) for name in names]
    # Half a surrogate pair, which JSON allows in a name, cannot be printed.
    shown = (text[:MAX_TEXT].encode('utf-8', 'backslashreplace').decode() for text in texts[:SHOWN])
    return [Note(what, len(texts), tuple(shown))] if texts else []


def of_image(box: dict[str, Any]) -> str:
    """Return the name of a box in a note."""
    return f'id {brief(box.get("id"))} of image {brief(box.get("image_id"))}'
