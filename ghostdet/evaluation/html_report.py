"""Writes all results of an evaluation as one web page, which needs no network and no other file."""
import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ghostdet.evaluation.coco_table import CLASS_METRICS, CocoTable
from ghostdet.evaluation.mistakes import KINDS, Mistakes
from ghostdet.files import write_whole
from ghostdet.images.decode import decode
from ghostdet.images.opencv import cv2
from ghostdet.tables import cell

PAGE = 'report.html'
STYLE = '''body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:75rem;padding:0 1rem 3rem;color:#222}
h1{font-size:1.6rem;overflow-wrap:anywhere}h2{font-size:1.25rem;margin-top:2.5rem}img{max-width:100%;height:auto;display:block}
.wide{overflow-x:auto}@media(max-width:40rem){img[src]{max-width:60rem;height:auto}}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:6rem}
p{max-width:45rem;overflow-wrap:anywhere}'''
COUNTS = ('found: detections with at least the threshold; right: those that cover a box of their class (IoU 0.5). '
          'Count error: found minus boxes, the mean over the images; absolute: the mean of its size; worst: in one '
          'image. Own threshold: the one with the best F1 of the class alone.')


class Page:
    """A web page that is put together from parts; all texts are escaped."""

    def __init__(self, title: str) -> None:
        self.title, self.parts = title, [f'<h1>{escape(title)}</h1>']

    def text(self, text: str, tag: str = 'p') -> None:
        """Add a paragraph, or another element."""
        self.parts.append(f'<{tag}>{escape(text)}</{tag}>')

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Add a table; the first row is the header."""
        head, *body = (''.join(f'<{tag}>{escape(text)}</{tag}>' for text in row)
                       for tag, row in zip(['th'] + ['td'] * (len(rows) - 1), rows))
        self.parts.append(f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>'
                          + ''.join(f'<tr>{row}</tr>' for row in body) + '</tbody></table></div>')

    def picture(self, file: Path, text: str) -> None:
        """Add a picture, photographs as JPEG, if the file exists."""
        if not file.is_file():
            return
        photographs, content = not file.stem.startswith(('curves', 'confusion')), file.read_bytes()
        if photographs:
            pixels = decode(content)[0]
            content = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
        kind, data = 'jpeg' if photographs else 'png', base64.b64encode(content).decode()
        self.parts.append(f'<div class="wide"><img alt="{escape(text)}" src="data:image/{kind};base64,{data}"></div>')

    def write(self, file: Path) -> None:
        """Write the page as UTF-8."""
        page = (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(self.title)}</title>'
                f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
                f'<body>{chr(10).join(self.parts)}</body></html>\n')
        write_whole(file, page.encode('utf-8', 'replace'))


def write_html(folder: Path, table: CocoTable, mistakes: Mistakes, data: str) -> None:
    """Write the page into the folder, with the pictures that are there.

    Args:
        data: what was evaluated on.
    """
    point = table.point
    page = Page(f'{folder.resolve().name}: AP {table.metrics["AP"]:.3f}, AP50 {table.metrics["AP50"]:.3f}')
    page.text(point.to_line())
    page.text(data)
    page.text('At the threshold', 'h2')
    page.table(point.table())
    page.text(COUNTS)
    page.table([['class', 'worst count', 'image'], *(
        [name, f'{counts.errors[counts.worst]:+}', mistakes.file_name(counts.worst)]
        for name, counts in (('all', point.total), *point.counts.items()))])
    page.text('Average precision', 'h2')
    page.table([['', *CLASS_METRICS], *([name, *(cell(row[key]) for key in CLASS_METRICS)]
                                        for name, row in table.rows())])
    page.picture(folder / 'curves.png', 'loss, average precision, precision against recall, F1 against threshold')
    page.text('Detections', 'h2')
    page.picture(folder / 'detections.png', 'images with their boxes above, with the detections below')
    page.text('Mistakes', 'h2')
    page.table([['true class', 'taken for', 'times'], *([true, found, str(number)] for true, found, number
                                                         in mistakes.most_confused())])
    page.picture(folder / 'confusion.png', 'how often each class is taken for each other')
    for kind, text in KINDS.items():
        page.text(f'{text.capitalize()}: {mistakes.count(kind)}', 'h3')
        page.picture(folder / f'mistakes_{kind}.png', f'the images with the most: {text}')
    page.write(folder / PAGE)
