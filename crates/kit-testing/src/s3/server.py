"""moto's S3 on a free loopback port, for as long as its standard input is open.

Requests are served one at a time: moto checks a condition and writes in two steps, and two threads would
pass between them where S3 lets only one through.
"""

import logging
import os
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)

backend = DomainDispatcherApplication(create_backend_app)
one_at_a_time = threading.Lock()


def application(environ, start_response):
    with one_at_a_time:
        return list(backend(environ, start_response))


def until_orphaned():
    sys.stdin.read()
    os._exit(0)


server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
threading.Thread(target=until_orphaned, daemon=True).start()
print(server.server_port, flush=True)
server.serve_forever()
