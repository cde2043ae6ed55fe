"""S3 and what gives out keys for it, by moto, behind a front that checks each call's signature."""

import base64
import datetime
import functools
import hashlib
import hmac
import itertools
import json
import logging
import os
import re
import secrets
import urllib.parse
from xml.sax.saxutils import escape

from testing.clouds.front import HOP_HEADERS, Answer, Front, ask

SKEW_S = 900
# Objects are nobody's else; moto looks whether a call is signed, not how.
OWNER = {
    "authorization": "AWS4-HMAC-SHA256 Credential=front/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
}
_numbers = itertools.count(1)


@functools.cache
def _moto_address():
    """One moto for all, until the process ends: its buckets are the process's anyway."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    return "{}:{}".format(*moto.get_host_and_port())


def _now():
    return datetime.datetime.now(datetime.timezone.utc)


def _encoded(text, safe):
    """As S3 spells it before it signs, however it came."""
    return urllib.parse.quote(urllib.parse.unquote_to_bytes(text), safe=safe)


class S3(Front):
    """A bucket. `keys` has who may call: {id: (secret, session token or None)}.

    `page_size`: the most that one page of a listing has. `public`: unsigned calls are answered too.
    `region`: where the bucket is; calls signed for another one are told so.
    Other ways to keys: `role` with `web_identity` (STS, at the same port), and `/credentials` with `container_token`.
    """

    def __init__(self, authority=None, region="us-east-1"):
        self.moto = _moto_address()
        self.region = region
        self.public, self.page_size = False, 1000
        self.bucket = f"bucket-{next(_numbers)}"
        self.id, self.secret = "AKIA" + "SWITCHYARD000001", secrets.token_hex(10) + "/+" + secrets.token_hex(9)
        self.keys = {self.id: (self.secret, None)}
        self.expired = set()
        self.role, self.web_identity = "arn:aws:iam::123456789012:role/models", "jwt." + secrets.token_hex(40)
        self.container_token = "container-" + secrets.token_hex(16)
        self.handed_out = []
        self._moto_call("PUT", "")
        super().__init__(authority)

    def url(self, folder):
        return f"s3://{self.bucket}/{folder}"

    def env(self):
        return {
            "AWS_ACCESS_KEY_ID": self.id,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": self.region,
            "S3_ENDPOINT": self.endpoint if self.authority else self.address,
        }

    @property
    def secrets(self):
        """What may stand nowhere."""
        known = [part for pair in self.keys.values() for part in pair if part]
        return [*known, self.web_identity, self.container_token]

    def put(self, key, data):
        answer = self._moto_call("PUT", "/" + key, data)
        assert answer.status == 200, answer

    def delete(self, key):
        assert self._moto_call("DELETE", "/" + key).status == 204

    def session(self):
        """New keys of a session: (id, secret, token)."""
        key = ("ASIA" + secrets.token_hex(8).upper(), secrets.token_hex(20), base64.b64encode(secrets.token_bytes(90)).decode())
        self.keys[key[0]] = key[1:]
        return key

    def _moto_call(self, method, path, body=None):
        return ask(self.moto, method, urllib.parse.quote(f"/{self.bucket}{path}", safe="/"), body, OWNER)

    def error(self, status, code="", message="", more=""):
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{escape(message)}</Message>{more}'
        return Answer(
            status, f"{body}<RequestId>4442587FB7D0A2F9</RequestId></Error>".encode(), {"Content-Type": "application/xml"}
        )

    def answer(self, call):
        if call.raw_path == "/credentials":
            return self._container(call)
        form = dict(urllib.parse.parse_qsl(call.body.decode("latin-1"))) or call.query
        if call.raw_path == "/" and form.get("Action"):
            return self._sts(form)
        fault = self.fault(call)
        if fault is not None:
            return fault
        kept = {
            name: value for name, value in call.headers.items() if not name.startswith("x-amz-") and name != "authorization"
        }
        kept = {name: value for name, value in kept.items() if name not in HOP_HEADERS}
        target = call.target
        if call.query.get("list-type") == "2":
            size = min(int(call.query.get("max-keys", self.page_size)), self.page_size)
            target = f"{call.raw_path}?{re.sub(r'(^|&)max-keys=[^&]*', '', call.raw_query)}&max-keys={size}"
        answer = ask(self.moto, call.method, target, call.body or None, {**kept, **OWNER})
        answer.headers["x-amz-bucket-region"] = self.region
        return answer

    def fault(self, call):
        """Why the call is refused, or None. As botocore signs it, of the call's own words."""
        given = call.headers.get("authorization", "")
        if not given:
            return None if self.public else self.error(403, "AccessDenied", "Access Denied")
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request,"
            r" ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
            given,
        )
        if not found:
            return self.error(400, "AuthorizationHeaderMalformed", "The authorization header is malformed")
        key_id, day, region, service, signed, signature = found.groups()
        if key_id not in self.keys:
            return self.error(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
        if key_id in self.expired:
            return self.error(400, "ExpiredToken", "The provided token has expired.")
        secret, token = self.keys[key_id]
        if call.headers.get("x-amz-security-token") != token:
            return self.error(403, "InvalidToken", "The provided token is malformed or otherwise invalid.")
        if service != "s3" or region != self.region:
            message = f"The authorization header is malformed; the region '{region}' is wrong; expecting '{self.region}'"
            wrong = self.error(400, "AuthorizationHeaderMalformed", message, f"<Region>{self.region}</Region>")
            wrong.headers["x-amz-bucket-region"] = self.region
            return wrong
        stamp = call.headers.get("x-amz-date", "")
        try:
            when = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        except ValueError:
            return self.error(403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
        if abs((when - _now()).total_seconds()) > SKEW_S or day != stamp[:8]:
            return self.error(
                403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."
            )
        names = signed.split(";")
        unsigned = [n for n in call.headers if (n == "host" or n.startswith("x-amz-")) and n not in names]
        if unsigned or names != sorted(names) or any(name not in call.headers for name in names):
            return self.error(
                403, "AccessDenied", f"There were headers present in the request which were not signed: {unsigned}"
            )
        told = call.headers.get("x-amz-content-sha256")
        if told is None:
            return self.error(400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
        if told not in ("UNSIGNED-PAYLOAD", hashlib.sha256(call.body).hexdigest()):
            return self.error(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match.")
        if not hmac.compare_digest(self.signature(call, key_id, secret, region, names), signature):
            return self.error(
                403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided."
            )
        return None

    @staticmethod
    def signature(call, key_id, secret, region, names):
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        pairs = [pair.partition("=") for pair in call.raw_query.split("&") if pair]
        query = "&".join(f"{_encoded(name, '-_.~')}={_encoded(value, '-_.~')}" for name, _, value in pairs)
        address = f"http://{call.headers['host']}{_encoded(call.raw_path, '/-_.~')}?{query}"
        request = AWSRequest(call.method, address, headers={name: call.headers[name] for name in names}, data=call.body)
        request.context["timestamp"] = call.headers["x-amz-date"]
        signer = S3SigV4Auth(Credentials(key_id, secret), "s3", region)
        return signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)

    def _hand_out(self, key):
        self.handed_out.append(key[0])
        return key

    def _sts(self, form):
        if form["Action"] != "AssumeRoleWithWebIdentity" or form.get("WebIdentityToken") != self.web_identity:
            return self._sts_error("InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider")
        if form.get("RoleArn") != self.role or form.get("Version") != "2011-06-15" or not form.get("RoleSessionName"):
            return self._sts_error("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = ask(self.moto, "POST", "/", urllib.parse.urlencode(form).encode(), kind)
        key = [
            re.search(f"<{name}>([^<]+)<", answer.body.decode()).group(1)
            for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
        ]
        self.keys[key[0]] = (key[1], key[2])
        self._hand_out(key)
        return answer

    @staticmethod
    def _sts_error(code, message):
        told = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        return Answer(403, f"<ErrorResponse>{told}</ErrorResponse>".encode(), {"Content-Type": "text/xml"})

    def _container(self, call):
        if call.headers.get("authorization") != self.container_token:
            return Answer(401, b'{"code": "Unauthorized", "message": "no"}')
        key_id, secret, token = self._hand_out(self.session())
        until = (_now() + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        told = {"AccessKeyId": key_id, "SecretAccessKey": secret, "Token": token, "Expiration": until}
        return Answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def web_identity_env(self, folder):
        file = folder / "web-identity"
        file.write_text(self.web_identity)
        env = {"AWS_WEB_IDENTITY_TOKEN_FILE": os.fspath(file), "AWS_ROLE_ARN": self.role, "AWS_ENDPOINT_URL_STS": self.endpoint}
        return {**env, "S3_ENDPOINT": self.address, "AWS_REGION": self.region}

    def container_env(self):
        env = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": self.endpoint + "/credentials"}
        return {**env, "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.container_token, "S3_ENDPOINT": self.address}
