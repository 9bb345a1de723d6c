"""A server on loopback that misbehaves."""
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `files` by path, else `content`; `plan` says what is wrong with each answer, its end with all the rest."""

    def __init__(self, content=None):
        super().__init__(('127.0.0.1', 0), Handler)
        self.content, self.files, self.version, self.plan = content, {}, '"1"', ['whole']
        self.requests, self.paths = [], []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        self.base = f'http://127.0.0.1:{self.server_address[1]}'
        self.url = f'{self.base}/file.pth'


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        kind = server.plan.pop(0) if len(server.plan) > 1 else server.plan[0]
        start = self.headers.get('Range')
        server.requests.append((kind, start))
        server.paths.append(self.path)
        content = server.files.get(self.path, server.content)
        if isinstance(kind, int) or content is None:
            self.send_error(kind if isinstance(kind, int) else 404)
            return
        part = start is not None and self.headers.get('If-Range') == server.version
        begin = int(start[6:-1]) if part else 0
        body = content[begin:]
        self.send_response(206 if part else 200)
        if kind != 'short':
            self.send_header('Content-Length', str(len(body)))
        if part:
            self.send_header('Content-Range', f'bytes {0 if kind == "shifted" else begin}-{len(content) - 1}/*')
        self.send_header('ETag', server.version)
        self.end_headers()
        self.wfile.write(body[:len(body) // 2] if kind in ('cut', 'short') else body)
