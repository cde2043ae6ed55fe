"""Azure's Blob and Files services as far as reading goes, over a dict; the signatures by azure-storage-blob."""

import base64
import datetime
import email.utils
import hashlib
import hmac
import itertools
import re
import secrets
import urllib.parse
from xml.sax.saxutils import escape

from testing.clouds.front import Answer, Front

SKEW_S = 900
_numbers = itertools.count(1)


class _Azure(Front):
    """What both have in common. `page_size`: the most that one page of a listing has. `public`: no signature is wanted.
    `shared_access`: a shared access signature alone is taken, in place of one by the key."""

    service = ""  # as a shared access signature calls it
    missing = ()  # code and message for the container that is not there

    def __init__(self, authority=None):
        self.account, self.key = f"account{next(_numbers)}", base64.b64encode(secrets.token_bytes(64)).decode()
        self.container = "models"
        self.public, self.shared_access, self.page_size = False, False, 2
        self.objects = {}  # key -> (data, ETag, when it was written)
        self.etags = itertools.count(0x8DC0000000000)
        super().__init__(authority)

    def env(self):
        text = f"DefaultEndpointsProtocol=http;AccountName={self.account};AccountKey={self.key};"
        return {"AZURE_STORAGE_CONNECTION_STRING": text + self._endpoints()}

    def shared_access_env(self):
        return {"AZURE_STORAGE_CONNECTION_STRING": f"{self._endpoints()}SharedAccessSignature={self.shared_access_signature()}"}

    def _endpoints(self):
        base = f"{self.endpoint}/{self.account}"
        return f"BlobEndpoint={base};FileEndpoint={base};"

    def shared_access_signature(self, permission="rl", hours=1):
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
        given = {
            "ss": self.service,
            "srt": "sco",
            "sp": permission,
            "se": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "sv": "2021-12-02",
        }
        return urllib.parse.urlencode({**given, "sig": self._shared_access_digest(given)})

    def _shared_access_digest(self, given):
        from azure.storage.blob._shared.shared_access_signature import SharedAccessSignature

        maker = SharedAccessSignature(self.account, self.key, x_ms_version=given.get("sv", ""))
        more = {"start": given.get("st"), "ip": given.get("sip"), "protocol": given.get("spr")}
        made = maker.generate_account(given.get("ss"), given.get("srt"), given.get("sp"), given.get("se"), **more)
        return dict(urllib.parse.parse_qsl(made))["sig"]

    @property
    def secrets(self):
        digests = [call.query["sig"] for call in self.calls if "sig" in call.query]
        return [self.key, *digests, *(urllib.parse.quote(digest, safe="") for digest in digests)]

    def put(self, key, data):
        now = datetime.datetime.now(datetime.timezone.utc)
        self.objects[key] = (data, f"0x{next(self.etags):X}", now)

    def delete(self, key):
        del self.objects[key]

    def error(self, status, code="", message=""):
        body = f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{escape(message)}\n'
        body += "RequestId:d2f9a6c1-401e-0000-0000-000000000000\nTime:2026-01-01T00:00:00.0000000Z</Message></Error>"
        return Answer(status, body.encode(), {"Content-Type": "application/xml", "x-ms-error-code": code})

    def fault(self, call):
        """Why the call is refused, or None."""
        if self.public:
            return None
        denied = "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly."
        if "sig" in call.query:
            good = self.shared_access and self._shared_access_is_good(call.query)
            return None if good else self.error(403, "AuthenticationFailed", denied)
        given = call.headers.get("authorization")
        if given is None:
            return self.error(
                404 if call.query.get("comp") != "list" else 403, "ResourceNotFound", "The specified resource does not exist."
            )
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", call.headers.get("x-ms-version", "")):
            return self.error(
                400, "MissingRequiredHeader", "An HTTP header that's mandatory for this request is not specified."
            )
        when = email.utils.parsedate_to_datetime(call.headers.get("x-ms-date", "Thu, 01 Jan 1970 00:00:00 GMT"))
        late = abs((when - datetime.datetime.now(datetime.timezone.utc)).total_seconds()) > SKEW_S
        if self.shared_access or late or not hmac.compare_digest(given, self.signature(call)):
            return self.error(403, "AuthenticationFailed", denied)
        return None

    def _shared_access_is_good(self, query):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            hmac.compare_digest(query["sig"], self._shared_access_digest(query))
            and query["se"] > now
            and {"r", "l"} <= set(query["sp"])
            and self.service in query["ss"]
        )

    def signature(self, call):
        """The Authorization header that azure-storage-blob gives this call. Its clients send x-ms-range alone, and so it
        knows no Range, whose place in what is signed is the last one; and the date stands only once."""
        from azure.core.pipeline import PipelineContext, PipelineRequest
        from azure.core.rest import HttpRequest
        from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy

        headers = {
            name: value for name, value in call.headers.items() if name not in ("authorization", "date", "content-length")
        }
        if "range" in headers:
            headers["byte_range"] = headers["range"]
        request = HttpRequest(call.method, f"http://{self.address}{call.target}", headers=headers)
        SharedKeyCredentialPolicy(self.account, self.key).on_request(PipelineRequest(request, PipelineContext(None)))
        return request.headers["Authorization"]

    def answer(self, call):
        fault = self.fault(call)
        if fault is not None:
            return fault
        account, _, rest = call.path.lstrip("/").partition("/")
        container, _, key = rest.partition("/")
        if account != self.account:
            return self.error(400, "InvalidUri", "The requested URI does not represent any resource on the server.")
        if container != self.container:
            return self.error(404, *self.missing)
        if call.query.get("comp") == "list":
            return self.list(call, key)
        return self.get(call, key)

    def get(self, call, key):
        if key not in self.objects:
            return self.error(
                404, "BlobNotFound" if self.service == "b" else "ResourceNotFound", "The specified resource does not exist."
            )
        data, etag, when = self.objects[key]
        condition = call.headers.get("if-match")
        if self.service == "b" and condition not in (None, "*", f'"{etag}"'):
            return self.error(412, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.")
        headers = {
            "ETag": f'"{etag}"',
            "Accept-Ranges": "bytes",
            "Last-Modified": email.utils.format_datetime(when, usegmt=True),
        }
        headers.update(
            {"x-ms-version": call.headers.get("x-ms-version", "2021-12-02"), "Content-Type": "application/octet-stream"}
        )
        headers["x-ms-blob-type" if self.service == "b" else "x-ms-type"] = "BlockBlob" if self.service == "b" else "File"
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("x-ms-range", call.headers.get("range", "")))
        if not wanted:
            return Answer(200, data, headers)
        begin = int(wanted[1])
        if begin >= len(data):
            return self.error(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")
        end = min(int(wanted[2] or len(data)), len(data) - 1)
        headers["Content-Range"] = f"bytes {begin}-{end}/{len(data)}"
        return Answer(206, data[begin : end + 1], headers)

    def page(self, call, names):
        """What of the names one page has, and the marker of the next. Markers are opaque."""
        marker = base64.b32decode(call.query["marker"]).decode() if call.query.get("marker") else ""
        names = [name for name in names if name > marker]
        size = min(int(call.query.get("maxresults", self.page_size)), self.page_size)
        more = base64.b32encode(names[size - 1].encode()).decode() if len(names) > size else ""
        return names[:size], more

    def listing(self, attributes, inner, more):
        text = (
            f'\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="{self.endpoint}/{self.account}/"'
        )
        text += f" {attributes}>{inner}<NextMarker>{more}</NextMarker></EnumerationResults>"
        return Answer(200, text.encode(), {"Content-Type": "application/xml"})


def _name(name):
    """What XML cannot say is told in the encoding of URLs, and so marked."""
    plain = all(ord(c) >= 32 and c not in "\ufffe\uffff" for c in name)
    return f"<Name>{escape(name)}</Name>" if plain else f'<Name Encoded="true">{urllib.parse.quote(name)}</Name>'


class AzureBlob(_Azure):
    service = "b"
    missing = ("ContainerNotFound", "The specified container does not exist.")

    def url(self, folder):
        return f"az://{self.container}/{folder}"

    def list(self, call, key):
        if key or call.query.get("restype") != "container":
            return self.error(400, "InvalidQueryParameterValue", "Value for one of the query parameters is invalid.")
        prefix = call.query.get("prefix", "")
        names, more = self.page(call, sorted(name for name in self.objects if name.startswith(prefix)))
        blobs = ""
        for name in names:
            data, etag, when = self.objects[name]
            written = email.utils.format_datetime(when, usegmt=True)
            blobs += f"<Blob>{_name(name)}<Properties><Creation-Time>{written}</Creation-Time>"
            blobs += f"<Last-Modified>{written}</Last-Modified><Etag>{etag}</Etag>"
            blobs += f"<Content-Length>{len(data)}</Content-Length><Content-Type>application/octet-stream</Content-Type>"
            blobs += f"<Content-MD5>{base64.b64encode(hashlib.md5(data).digest()).decode()}</Content-MD5>"
            blobs += "<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier></Properties><OrMetadata /></Blob>"
        return self.listing(
            f'ContainerName="{self.container}"', f"<Prefix>{escape(prefix)}</Prefix><Blobs>{blobs}</Blobs>", more
        )


class AzureFiles(_Azure):
    """Directories are those that files lie in. Conditions on reading are not known to this service, and let be."""

    service = "f"
    missing = ("ShareNotFound", "The specified share does not exist.")

    def url(self, folder):
        return f"azfs://{self.container}/{folder}"

    def list(self, call, folder):
        if call.query.get("restype") != "directory":
            return self.error(400, "InvalidQueryParameterValue", "Value for one of the query parameters is invalid.")
        start = folder.strip("/") + "/" if folder.strip("/") else ""
        below = {name[len(start) :] for name in self.objects if name.startswith(start)}
        if start and not below:
            return self.error(404, "ResourceNotFound", "The specified resource does not exist.")
        names, more = self.page(call, sorted({name.partition("/")[0] for name in below}))
        entries = ""
        for name in names:
            if name in below:
                data, etag, when = self.objects[start + name]
                facts = f"<Content-Length>{len(data)}</Content-Length>" + self._facts(call, etag, when)
                entries += f"<File>{_name(name)}<Properties>{facts}</Properties></File>"
            else:
                entries += f"<Directory>{_name(name)}<Properties /></Directory>"
        return self.listing(
            f'ShareName="{self.container}" DirectoryPath="{escape(folder)}"', f"<Entries>{entries}</Entries>", more
        )

    @staticmethod
    def _facts(call, etag, when):
        """What is told on request alone, and to those who know of it."""
        if call.headers.get("x-ms-version", "") < "2020-04-08":
            return ""
        include = [name.strip().lower() for name in call.query.get("include", "").split(",")]
        told = ""
        if "timestamps" in include:
            stamp = when.strftime("%Y-%m-%dT%H:%M:%S.%f0Z")
            told += "".join(f"<{n}>{stamp}</{n}>" for n in ("CreationTime", "LastAccessTime", "LastWriteTime", "ChangeTime"))
            told += f"<Last-Modified>{email.utils.format_datetime(when, usegmt=True)}</Last-Modified>"
        return told + (f"<Etag>&quot;{etag}&quot;</Etag>" if "etag" in include else "")
