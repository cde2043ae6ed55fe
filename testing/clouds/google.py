"""Google Cloud Storage by gcp-storage-emulator, behind a front that wants a token, lists by pages and knows generations."""

import base64
import functools
import itertools
import json
import logging
import os
import re
import secrets
import time
import urllib.parse

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from testing.clouds.front import HOP_HEADERS, Answer, Front, ask

SCOPES = {
    "https://www.googleapis.com/auth/" + name
    for name in ("cloud-platform", "cloud-platform.read-only", "devstorage.read_only", "devstorage.read_write")
}
_numbers = itertools.count(1)


@functools.cache
def _emulator_address():
    """One emulator for all, until the process ends."""
    from gcp_storage_emulator.server import create_server

    for name in ("gcp_storage_emulator", "api.object", "api.bucket"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    emulator = create_server("127.0.0.1", 0, in_memory=True)
    emulator._api.daemon = True
    emulator.start()
    return "{}:{}".format(*emulator._api._httpd.server_address)


def _decoded(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


class Google(Front):
    """A bucket, and the service that gives out tokens for it. `public`: calls without a token are answered too.
    `page_size`: the most that one page of a listing has."""

    def __init__(self, authority=None):
        self.behind = _emulator_address()
        self.bucket = f"bucket-{next(_numbers)}"
        self.public, self.page_size = False, 1000
        self.tokens = {}
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.account = "models@project.iam.gserviceaccount.com"
        self.user = {name: secrets.token_hex(20) for name in ("client_id", "client_secret", "refresh_token")}
        made = json.dumps({"name": self.bucket}).encode()
        assert ask(self.behind, "POST", "/storage/v1/b?project=p", made, {"Content-Type": "application/json"}).status == 200
        super().__init__(authority)

    def url(self, folder):
        return f"gs://{self.bucket}/{folder}"

    def service_account(self):
        """The file's object."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "k1",
            "private_key": pem.decode(),
            "client_email": self.account,
            "client_id": "1",
            "token_uri": self.endpoint + "/token",
        }

    def authorized_user(self):
        return {"type": "authorized_user", **self.user, "token_uri": self.endpoint + "/token"}

    def env_of(self, folder, credentials):
        file = folder / "google.json"
        file.write_text(json.dumps(credentials))
        return {"GOOGLE_APPLICATION_CREDENTIALS": os.fspath(file), "STORAGE_EMULATOR_HOST": self.endpoint}

    @property
    def secrets(self):
        lines = self.service_account()["private_key"].splitlines()
        return [*lines[1:-1], self.user["client_secret"], self.user["refresh_token"], *self.tokens]

    def put(self, key, data):
        target = f"/upload/storage/v1/b/{self.bucket}/o?uploadType=media&name={urllib.parse.quote(key, safe='')}"
        answer = ask(self.behind, "POST", target, data, {"Content-Type": "application/octet-stream"})
        assert answer.status == 200, answer

    def delete(self, key):
        target = f"/storage/v1/b/{self.bucket}/o/{urllib.parse.quote(key, safe='')}"
        assert ask(self.behind, "DELETE", target).status in (200, 204)

    def error(self, status, code="", message=""):
        told = {"code": status, "message": message, "errors": [{"message": message, "domain": "global", "reason": code}]}
        return Answer(status, json.dumps({"error": told}).encode(), {"Content-Type": "application/json; charset=UTF-8"})

    def answer(self, call):
        if call.raw_path == "/token":
            return self._token(dict(urllib.parse.parse_qsl(call.body.decode())))
        given = call.headers.get("authorization")
        if given is None and not self.public:
            message = (
                f"Anonymous caller does not have storage.objects.list access to the Google Cloud Storage bucket {self.bucket}."
            )
            return self.error(401, "required", message)
        if given is not None and self.tokens.get(given.removeprefix("Bearer "), 0) < time.time():
            return self.error(401, "authError", "Invalid Credentials")
        found = re.fullmatch(r"(/storage/v1/b/[^/]+/o)(?:/([^/]+))?", call.raw_path)
        if not found:
            return self.error(404, "notFound", "Not Found")
        return self._get(call, found[2]) if found[2] else self._list(call, found[1])

    def _list(self, call, path):
        query = call.query
        answer = ask(self.behind, "GET", f"{path}?" + urllib.parse.urlencode({"prefix": query.get("prefix", "")}))
        if answer.status != 200:
            return self.error(404, "notFound", "The specified bucket does not exist.")
        items = sorted(json.loads(answer.body)["items"], key=lambda item: item["name"])
        items = [item for item in items if item["name"] > query.get("pageToken", "")]
        size = min(int(query.get("maxResults", self.page_size)), self.page_size)
        told = {"kind": "storage#objects"}
        if items:
            told["items"] = items[:size]
        if len(items) > size:
            told["nextPageToken"] = items[size - 1]["name"]
        fields = query.get("fields")
        if fields:  # nothing else is told, the next page neither
            inner = re.search(r"items\(([^)]*)\)", fields)
            told = {name: value for name, value in told.items() if name in re.sub(r"\([^)]*\)", "", fields).split(",")}
            if inner and "items" in told:
                wanted = inner[1].split(",")
                told["items"] = [{name: item[name] for name in wanted if name in item} for item in told["items"]]
        return Answer(200, json.dumps(told).encode(), {"Content-Type": "application/json; charset=UTF-8"})

    def _get(self, call, name):
        answer = ask(self.behind, "GET", call.raw_path)
        if answer.status != 200:
            return self.error(404, "notFound", f"No such object: {self.bucket}/{urllib.parse.unquote(name)}")
        item = json.loads(answer.body)
        if call.query.get("generation", item["generation"]) != item["generation"]:
            return self.error(404, "notFound", f"No such object: {self.bucket}/{urllib.parse.unquote(name)}")
        if call.query.get("alt") != "media":
            return answer
        kept = {name: value for name, value in call.headers.items() if name == "range"}
        answer = ask(self.behind, "GET", call.raw_path + "?alt=media", None, kept)
        answer.headers = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_HEADERS}
        answer.headers.update({"ETag": f'"{item["etag"]}"', "x-goog-generation": item["generation"]})
        return answer

    def _token(self, form):
        fault = self._token_fault(form)
        if fault:
            told = json.dumps({"error": "invalid_grant", "error_description": fault}).encode()
            return Answer(400, told, {"Content-Type": "application/json"})
        token = "ya29." + secrets.token_urlsafe(60)
        self.tokens[token] = time.time() + 3600
        told = {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}
        return Answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _token_fault(self, form):
        if form.get("grant_type") == "refresh_token":
            return "" if all(form.get(name) == value for name, value in self.user.items()) else "Bad Request"
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return "unsupported grant type"
        try:
            head, claims, signature = form["assertion"].split(".")
            self.key.public_key().verify(_decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
            head, claims = json.loads(_decoded(head)), json.loads(_decoded(claims))
        except (InvalidSignature, ValueError, KeyError):
            return "Invalid JWT Signature."
        now = time.time()
        if head.get("alg") != "RS256" or claims.get("iss") != self.account or claims.get("aud") != self.endpoint + "/token":
            return "Invalid JWT: alg, iss or aud."
        if not now - 300 < claims["iat"] <= now + 300 or not now < claims["exp"] <= claims["iat"] + 3600:
            return "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
        return "" if set(claims.get("scope", "").split()) & SCOPES else "Invalid OAuth scope."
