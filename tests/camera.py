"""A camera on this machine: MJPEG over HTTP, which can break down and come back. Its frames show their number."""
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import cv2
import numpy as np

from ghostdet.infer.detections import Detections

AUTHORIZATION = 'Basic bWU6cGFzcy13b3Jk'  # me:pass-word
BITS = 12  # stripes of a frame: its number, black is 0


def numbered(number, size=(320, 240)):
    """BGR image (H, W, 3) of `size` (width, height) that shows a number."""
    row = (255 * (number >> np.arange(size[0]) * BITS // size[0] & 1)).astype(np.uint8)
    return np.broadcast_to(row[None, :, None], (size[1], size[0], 3)).copy()


def number_in(pixels):
    """The number that an image shows in its lower half: the boxes are in the upper one."""
    row, width = pixels[-10, :, 0], pixels.shape[1] / BITS
    return sum(int(row[int((bit + 0.5) * width)] > 127) << bit for bit in range(BITS))


class Camera:
    """Serves `rate` frames a second to each client. `sent[number]` is when the frame left, by `time.monotonic`.

    It wants the password in its address; at the path /closed, another one.
    """

    def __init__(self, rate=50, size=(320, 240)):
        self.rate, self.size, self.sent, self.port, self.silent = rate, size, [], 0, False

    @property
    def address(self):
        return f'http://me:pass-word@127.0.0.1:{self.port}/live?token=to-ken&channel=1'

    def start(self):
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                if self.path.startswith('/closed') or self.headers.get('Authorization') != AUTHORIZATION:
                    self.send_response(401)
                    self.send_header('WWW-Authenticate', 'Basic realm="camera"')
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header('Content-Type', 'multipart/x-mixed-replace; boundary=frame')
                self.end_headers()
                with suppress(OSError):
                    camera.send(self.wfile)

        self.server = ThreadingHTTPServer(('127.0.0.1', self.port), Handler)
        self.server.daemon_threads = self.running = True
        self.port = self.server.server_port
        Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def send(self, file):
        while self.running:
            if not self.silent:
                content = cv2.imencode('.jpg', numbered(len(self.sent), self.size))[1].tobytes()
                self.sent.append(time.monotonic())
                file.write(b'--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n' % len(content))
                file.write(content + b'\r\n')
            time.sleep(1 / self.rate)

    def stop(self):
        """End the connections, and close the port."""
        self.running = False
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.running:
            self.stop()


class SlowDetector:
    """Takes `seconds` for an image, and finds one box. `seen` has the number of each frame, and when its boxes came."""

    classes, threshold, batch, max_objects = ('a', 'b'), 0.3, 1, None

    def __init__(self, seconds=0.0, then=lambda count: None):
        self.seconds, self.seen, self.then = seconds, [], then

    def prepare(self, image):
        return image

    def run(self, images):
        time.sleep(self.seconds)
        self.seen += [(number_in(image), time.monotonic()) for image in images]
        self.then(len(self.seen))
        return [Detections(np.array([[10, 20, 40, 60], [0, 0, 5, 5]], np.float32), np.array([0.9, 0.1], np.float32),
                           np.array([1, 0]), self.classes, image.shape[:2]) for image in images]
