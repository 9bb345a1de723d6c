"""RTSP with a password, served by GStreamer: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi
gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly.
"""
import json
import shutil
import socket
import subprocess
from threading import Timer

import cv2
import pytest

from ghostdet.infer.recording import Recording
from ghostdet.infer.stream import Stream
from ghostdet.infer.watching import watch
from tests.camera import SlowDetector

PYTHON = shutil.which('python3', path='/usr/bin') or 'python3'  # the system's, which has GStreamer
IMPORTS = '''import sys, gi
gi.require_version('Gst', '1.0')
gi.require_version('GstRtspServer', '1.0')
from gi.repository import GLib, Gst, GstRtspServer as Rtsp
'''
SERVER = IMPORTS + '''
Gst.init(None)
server, auth, token = Rtsp.RTSPServer(), Rtsp.RTSPAuth(), Rtsp.RTSPToken()
server.set_service(sys.argv[1])
token.set_string('media.factory.role', 'user')
auth.add_basic(Rtsp.RTSPAuth.make_basic('me', 'pass-word'), token)
server.set_auth(auth)
factory, rights = Rtsp.RTSPMediaFactory(), Rtsp.RTSPPermissions()
factory.set_launch('( videotestsrc is-live=true pattern=ball ! '
                   'video/x-raw,width=320,height=240,framerate=25/1,format=I420 ! ' + sys.argv[2] + ' name=pay0 )')
for right in ('access', 'construct'):
    rights.add_permission_for_role('user', 'media.factory.' + right, True)
factory.set_permissions(rights)
server.get_mount_points().add_factory('/live', factory)
server.attach(None)
print('ready', flush=True)
GLib.MainLoop().run()
'''

pytestmark = pytest.mark.skipif(subprocess.run([PYTHON, '-c', IMPORTS], capture_output=True).returncode != 0,
                                reason='GStreamer\'s RTSP server is not installed')


@pytest.mark.parametrize('codec', ['jpegenc ! rtpjpegpay pt=26', 'x264enc tune=zerolatency ! rtph264pay pt=96'])
def test_rtsp_breaks_down_and_comes_back(codec, tmp_path, capfd):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])

    def serve():
        server = subprocess.Popen([PYTHON, '-c', SERVER, port, codec], stdout=subprocess.PIPE, text=True, env={})
        assert server.stdout.readline() == 'ready\n'
        servers.append(server)

    servers = []
    try:
        serve()
        timers = [Timer(5, servers[0].kill), Timer(7, serve)]
        for timer in timers:
            timer.start()
        detector = SlowDetector(0.05)
        summary = watch(detector, Stream(f'rtsp://me:pass-word@127.0.0.1:{port}/live'), 0.3,
                        Recording(tmp_path / 'a.mkv'), seconds=20)
        for timer in timers:
            timer.join()
    finally:
        for server in servers:
            server.kill()
            server.wait()
    said = capfd.readouterr()
    assert 'connected again' in said.err
    assert 'pass-word' not in said.out + said.err
    records = [json.loads(line) for line in (tmp_path / 'a.jsonl').read_text().splitlines()]
    assert len(records) == summary.frames > 100
    assert {(record['width'], record['height']) for record in records} == {(320, 240)}
    assert summary.behind / summary.frames < 0.15
    assert cv2.VideoCapture(str(tmp_path / 'a.mkv')).get(cv2.CAP_PROP_FRAME_COUNT) > 150
