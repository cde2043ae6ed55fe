"""A web server that remembers its calls and misbehaves on request; what all of the clouds have in common."""

import contextlib
import dataclasses
import datetime
import http.client
import http.server
import ipaddress
import socket
import ssl
import threading
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOLD_LIMIT_S = 30
# What a hop sets for itself.
HOP_HEADERS = {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"}


@dataclasses.dataclass
class Call:
    """A request as it came, headers in lower case; then what was answered."""

    method: str
    target: str
    headers: dict
    body: bytes
    status: int = 0
    sent: int = 0  # bytes of the answer's body

    @property
    def path(self):
        """Decoded."""
        return urllib.parse.unquote(self.raw_path)

    @property
    def raw_path(self):
        return self.target.partition("?")[0]

    @property
    def raw_query(self):
        return self.target.partition("?")[2]

    @property
    def query(self):
        return dict(urllib.parse.parse_qsl(self.raw_query, keep_blank_values=True))


@dataclasses.dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict = dataclasses.field(default_factory=dict)


class Authority:
    """A certificate authority of nobody's, and a certificate of it for 127.0.0.1; both made anew, in files of `folder`."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "ca.pem"
        authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Authority of the tests")])
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
        root = self._certificate(issuer, issuer, authority_key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        root = root.add_extension(usage, critical=True).sign(authority_key, hashes.SHA256())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")])
        leaf = self._certificate(subject, issuer, server_key.public_key()).add_extension(names, critical=False)
        leaf = leaf.sign(authority_key, hashes.SHA256())
        self.file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        chain = folder / "server.pem"
        chain.write_bytes(
            server_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + leaf.public_bytes(serialization.Encoding.PEM)
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain)

    @staticmethod
    def _certificate(subject, issuer, key):
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    context = None

    def get_request(self):
        connection, address = super().get_request()
        if self.context is not None:  # the handshake is the connection's own thread's
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request, client_address):
        pass  # clients that break off, which is what these tests do


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = HOLD_LIMIT_S

    def setup(self):
        super().setup()
        self.front.connections.add(self.connection)

    def finish(self):
        self.front.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *args):
        pass

    def any_method(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        call = Call(self.command, self.path, headers, body)
        self.front.calls.append(call)
        self.front.serve(call, self)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = any_method


class Front:
    """The web server. On 127.0.0.1, on a port of its own choice, which stays its own while it is away."""

    def __init__(self, authority=None):
        self.authority = authority
        self.calls, self.rules, self.connections = [], [], set()
        self.lock = threading.Lock()
        self.server = None
        self.closed = self._bind(0)
        self.port = self.closed.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.endpoint = f"{'https' if authority else 'http'}://{self.address}"
        self.back()

    @staticmethod
    def _bind(port):
        """A socket on which nobody listens: connections are refused, and the port is nobody else's."""
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", port))
        return one

    def back(self):
        handler = type("Handler", (_Handler,), {"front": self})
        server = _Server(("127.0.0.1", self.port), handler, bind_and_activate=False)
        server.socket.close()
        server.socket, self.closed = self.closed, None
        server.context = self.authority.context if self.authority else None
        server.server_activate()
        self.server = server
        self.thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        self.thread.start()

    def away(self):
        """Also for those who are being answered."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        self.closed = self._bind(self.port)
        self.server = None
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        if self.server is not None:
            self.away()
        self.closed.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def on(self, part, times=None, **step):
        """What comes of the next `times` calls (all, without) whose target has `part`, after who calls was checked:
        code=503: that answer, with headers={...}; cut=N: the body breaks off after N bytes; hold=EVENT: it stops after `cut`
        bytes until the event, and then breaks off, or goes on with go_on=True. The first rule that is not used up holds."""
        with self.lock:
            self.rules.append({"part": part, "left": times, **step})

    def forget(self):
        """The calls, and the rules."""
        with self.lock:
            self.calls, self.rules = [], []

    def gets(self, part):
        """Calls whose path ends with `part`."""
        return [call for call in self.calls if call.path.endswith(part)]

    def answer(self, call) -> Answer:
        raise NotImplementedError

    def error(self, status, code="", message="") -> Answer:
        """As the service words it."""
        return Answer(status, message.encode())

    def _step(self, call):
        with self.lock:
            for rule in self.rules:
                if rule["part"] in urllib.parse.unquote(call.target) and rule["left"] != 0:
                    if rule["left"] is not None:
                        rule["left"] -= 1
                    return rule
        return {}

    def serve(self, call, handler):
        answer, step = self.answer(call), {}
        if answer.status < 300:
            step = self._step(call)
        if "code" in step:
            answer = self.error(step["code"], "Misbehaving", "as a rule says")
            answer.headers.update(step.get("headers", {}))
        call.status = answer.status
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in HOP_HEADERS:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        body = b"" if call.method == "HEAD" else answer.body
        if "cut" not in step and "hold" not in step:
            handler.wfile.write(body)
            call.sent = len(body)
            return
        cut = step.get("cut", 0)
        handler.wfile.write(body[:cut])
        handler.wfile.flush()
        call.sent = min(cut, len(body))
        if "hold" in step and step["hold"].wait(HOLD_LIMIT_S) and step.get("go_on"):
            handler.wfile.write(body[cut:])
            call.sent = len(body)
            return
        handler.close_connection = True


def ask(address, method, target, body=None, headers=None) -> Answer:
    """Of another web server, as it says it."""
    connection = http.client.HTTPConnection(address, timeout=HOLD_LIMIT_S)
    try:
        connection.putrequest(method, target, skip_host="host" in (headers or {}), skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), dict(answer.getheaders()))
    finally:
        connection.close()
