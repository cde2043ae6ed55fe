"""A web server that breaks off, redirects, refuses and lies."""

import contextlib
import hashlib
import http.server
import threading

SLOW_PIECE = 64 << 10  # what comes before a hold, unless the step has a "piece"


class Web:
    """Files by path, with ranges and ETags; `plan` has, by path, what to do with the next requests in place of that."""

    def __init__(self):
        self.files, self.plan, self.requests = {}, {}, []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self, code, body=b"", headers=(), cut=None):
                self.send_response(code)
                for name, value in dict(headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body if cut is None else body[:cut])
                if cut is not None:
                    self.close_connection = True

            def do_GET(self):
                path = self.path.partition("?")[0]
                web.requests.append((path, dict(self.headers)))
                step = web.plan[path].pop(0) if web.plan.get(path) else {}
                if "code" in step:
                    return self.answer(step["code"], b"no", step.get("headers", {}))
                if path not in web.files:
                    return self.answer(404, b"nothing here")
                body = web.files[path]
                headers = {"ETag": f'"{hashlib.md5(body).hexdigest()}"', **step.get("headers", {})}
                if path.endswith("/"):
                    headers["Content-Type"] = "text/html"
                given = self.headers.get("Range")
                if given and "code_of_whole" not in step and self.headers.get("If-Range", headers["ETag"]) == headers["ETag"]:
                    begin = int(given.removeprefix("bytes=").rstrip("-"))
                    if begin >= len(body):
                        return self.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
                    headers["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
                    return self.answer(206, body[begin:], headers, step.get("cut"))
                if "hold" not in step:
                    return self.answer(200, body, headers, step.get("cut"))
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: step.get("piece", SLOW_PIECE)])
                self.wfile.flush()
                step["hold"].wait(30)
                self.close_connection = True
                return None

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def paths(self):
        return [path for path, _ in self.requests]

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
