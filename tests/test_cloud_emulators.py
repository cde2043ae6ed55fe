"""What tests/test_cloud.py holds the server against, held against the services' own clients; and that it says no."""

import base64
import dataclasses
import json
import threading
import time
import urllib.parse

import boto3
import botocore.exceptions
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.storage.blob import ContainerClient
from azure.storage.fileshare import ShareClient
from botocore import UNSIGNED
from botocore.config import Config
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from harness import wait_until

from testing.clouds import S3, Authority, AzureBlob, AzureFiles, Google

FILES = {f"m/{n}/model.{kind}": f"{n}{kind}".encode() * 9 for n in (1, 2, 3) for kind in ("xml", "bin")}
ONCE = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})


def filled(kind):
    with kind() as cloud:
        for key, data in FILES.items():
            cloud.put(key, data)
        yield cloud


@pytest.fixture
def s3():
    yield from filled(S3)


@pytest.fixture
def google():
    yield from filled(Google)


def boto(cloud, service="s3", key=None, config=ONCE, region=None, verify=None):
    names = dict(zip(("aws_access_key_id", "aws_secret_access_key", "aws_session_token"), key or (cloud.id, cloud.secret)))
    return boto3.client(
        service, endpoint_url=cloud.endpoint, region_name=region or cloud.region, config=config, verify=verify, **names
    )


def refused(call, *args, **kwargs):
    with pytest.raises(botocore.exceptions.ClientError) as error:
        call(*args, **kwargs)
    return error.value.response["Error"]["Code"]


def test_s3_answers_who_signs_well(s3):
    client = boto(s3)
    s3.page_size = 4
    pages = list(client.get_paginator("list_objects_v2").paginate(Bucket=s3.bucket, Prefix="m/"))
    s3.page_size = 1000
    assert [len(page["Contents"]) for page in pages] == [4, 2]
    tag = pages[0]["Contents"][0]["ETag"]
    got = client.get_object(Bucket=s3.bucket, Key="m/1/model.bin", Range="bytes=5-", IfMatch=tag)
    assert got["Body"].read() == FILES["m/1/model.bin"][5:] and got["ContentRange"] == "bytes 5-35/36"
    assert refused(client.get_object, Bucket=s3.bucket, Key="m/1/model.bin", IfMatch='"other"') == "PreconditionFailed"
    assert refused(client.list_objects_v2, Bucket="no-such-bucket") == "NoSuchBucket"
    for name in ("m/ü +%&=~.bin", "m/a//b", "m/1/it's (a)!*.bin"):
        s3.put(name, b"x")
        assert client.get_object(Bucket=s3.bucket, Key=name)["Body"].read() == b"x"
    session = s3.session()
    assert boto(s3, key=session).list_objects_v2(Bucket=s3.bucket)["KeyCount"] == 9
    assert refused(boto(s3, key=session[:2]).list_objects_v2, Bucket=s3.bucket) == "InvalidToken"
    s3.expired.add(session[0])
    assert refused(boto(s3, key=session).list_objects_v2, Bucket=s3.bucket) == "ExpiredToken"
    assert [call.status for call in s3.gets("/m/1/model.bin")] == [206, 412]


def test_s3_refuses_others(s3):
    listing = {"Bucket": s3.bucket}
    assert refused(boto(s3, key=(s3.id, "wrong")).list_objects_v2, **listing) == "SignatureDoesNotMatch"
    assert refused(boto(s3, key=("AKIA" + "UNKNOWN", "wrong")).list_objects_v2, **listing) == "InvalidAccessKeyId"
    unsigned = boto(s3, config=ONCE.merge(Config(signature_version=UNSIGNED)))
    assert refused(unsigned.list_objects_v2, **listing) == "AccessDenied"
    s3.public = True
    assert unsigned.list_objects_v2(**listing)["KeyCount"] == 6


def test_s3_sees_every_change_to_what_was_signed(s3):
    boto(s3).get_object(Bucket=s3.bucket, Key="m/1/model.bin", Range="bytes=5-")
    boto(s3).list_objects_v2(Bucket=s3.bucket, Prefix="m/1")
    get, listing = s3.calls
    assert s3.fault(get) is None and s3.fault(listing) is None

    def code(call, **change):
        return s3.fault(dataclasses.replace(call, **change)).body.decode().partition("<Code>")[2].partition("<")[0]

    assert code(get, target=get.target + "x") == "SignatureDoesNotMatch"
    assert code(get, method="HEAD") == "SignatureDoesNotMatch"
    assert code(listing, target=listing.target.replace("m%2F1", "m%2F2")) == "SignatureDoesNotMatch"
    assert code(get, headers={**get.headers, "x-amz-meta": "1"}) == "AccessDenied"
    assert code(get, headers={**get.headers, "x-amz-date": "20200101T000000Z"}) == "RequestTimeTooSkewed"
    assert code(get, headers={**get.headers, "host": "elsewhere"}) == "SignatureDoesNotMatch"
    assert code(get, body=b"x") == "XAmzContentSHA256Mismatch"


def test_s3_tells_where_a_bucket_is():
    with S3(region="eu-central-1") as cloud:
        cloud.put("m/1/a", b"x")
        assert boto(cloud, region="us-west-2").list_objects_v2(Bucket=cloud.bucket)["KeyCount"] == 1
        refusal, *_, answer = cloud.calls
        assert refusal.status == 400 and answer.status == 200 and "/eu-central-1/s3/" in answer.headers["authorization"]


def test_keys_of_a_role_and_of_a_container(s3, tmp_path):
    sts = boto(s3, "sts", config=Config(retries={"total_max_attempts": 1}))
    asked = {"RoleArn": s3.role, "RoleSessionName": "test", "WebIdentityToken": s3.web_identity}
    given = sts.assume_role_with_web_identity(**asked)["Credentials"]
    key = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    assert boto(s3, key=key).list_objects_v2(Bucket=s3.bucket)["KeyCount"] == 6
    assert refused(sts.assume_role_with_web_identity, **{**asked, "WebIdentityToken": "other"}) == "InvalidIdentityToken"
    assert refused(sts.assume_role_with_web_identity, **{**asked, "RoleArn": s3.role + "x"}) == "AccessDenied"
    assert requests.get(s3.endpoint + "/credentials", timeout=5).status_code == 401
    told = requests.get(s3.endpoint + "/credentials", headers={"Authorization": s3.container_token}, timeout=5).json()
    key = (told["AccessKeyId"], told["SecretAccessKey"], told["Token"])
    assert boto(s3, key=key).list_objects_v2(Bucket=s3.bucket)["KeyCount"] == 6
    assert len(s3.handed_out) == 2


def test_a_front_misbehaves_on_request_and_goes_away(s3):
    s3.public = True
    address = f"{s3.endpoint}/{s3.bucket}/m/1/model.bin"
    s3.on("model.bin", code=503, times=1, headers={"Retry-After": "1"})
    s3.on("model.bin", cut=7, times=1)
    first = requests.get(address, timeout=5)
    assert first.status_code == 503 and first.headers["Retry-After"] == "1"
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(address, timeout=5)
    held = threading.Event()
    s3.on("model.bin", hold=held, cut=3, times=1, go_on=True)
    threading.Timer(0.1, held.set).start()
    assert requests.get(address, timeout=5).content == FILES["m/1/model.bin"]
    # The client has its last byte a moment before the front counts it.
    wait_until(lambda: [call.sent for call in s3.calls][1:] == [7, 36], 5, "the bytes that were sent")
    s3.away()
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(address, timeout=5)
    s3.back()
    assert requests.get(address, timeout=5).status_code == 200


def test_tls_by_an_authority_of_its_own(tmp_path):
    authority = Authority(tmp_path)
    with S3(authority) as cloud:
        cloud.put("m/1/a", b"x")
        assert boto(cloud, verify=str(authority.file)).list_objects_v2(Bucket=cloud.bucket)["KeyCount"] == 1
        with pytest.raises(botocore.exceptions.SSLError):
            boto(cloud).list_objects_v2(Bucket=cloud.bucket)


def assertion(cloud, change=None, key=None):
    now = int(time.time())
    claims = {"iss": cloud.account, "aud": cloud.endpoint + "/token", "iat": now, "exp": now + 600}
    claims.update({"scope": "https://www.googleapis.com/auth/devstorage.read_only", **(change or {})})
    parts = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in ({"alg": "RS256", "typ": "JWT"}, claims)]
    signed = (key or cloud.key).sign(b".".join(parts), padding.PKCS1v15(), hashes.SHA256())
    return b".".join([*parts, base64.urlsafe_b64encode(signed).rstrip(b"=")]).decode()


def test_google_gives_tokens_to_its_accounts_alone(google):
    def ask(**form):
        return requests.post(google.endpoint + "/token", data=form, timeout=5)

    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    good = ask(grant_type=grant, assertion=assertion(google))
    assert good.status_code == 200 and good.json()["access_token"] in google.tokens
    refreshed = ask(grant_type="refresh_token", **google.user)
    assert refreshed.status_code == 200
    assert ask(grant_type="refresh_token", **{**google.user, "refresh_token": "x"}).status_code == 400
    for change in ({"aud": "x"}, {"iss": "x"}, {"exp": 1}, {"exp": int(time.time()) + 9000}, {"scope": "x"}):
        assert ask(grant_type=grant, assertion=assertion(google, change)).status_code == 400, change
    with Google() as other:
        assert ask(grant_type=grant, assertion=assertion(google, key=other.key)).status_code == 400
    assert google.service_account()["private_key"].splitlines()[1] in google.secrets
    listing = f"{google.endpoint}/storage/v1/b/{google.bucket}/o"
    assert requests.get(listing, timeout=5).status_code == 401
    assert requests.get(listing, headers={"Authorization": "Bearer x"}, timeout=5).status_code == 401
    for token in google.tokens:
        assert requests.get(listing, headers={"Authorization": f"Bearer {token}"}, timeout=5).status_code == 200


def test_google_has_pages_and_generations(google):
    google.public, google.page_size = True, 2
    listing, names, query = f"{google.endpoint}/storage/v1/b/{google.bucket}/o", [], {"prefix": "m/"}
    while True:
        told = requests.get(listing, {**query, "fields": "items(name,size,generation),nextPageToken"}, timeout=5).json()
        assert set(told["items"][0]) == {"name", "size", "generation"} and len(told["items"]) <= 2
        names += told["items"]
        if "nextPageToken" not in told:
            break
        query["pageToken"] = told["nextPageToken"]
    assert [item["name"] for item in names] == sorted(FILES)
    item = next(item for item in names if item["name"] == "m/1/model.bin")
    address = f"{listing}/{urllib.parse.quote(item['name'], safe='')}?alt=media&generation={item['generation']}"
    assert requests.get(address, timeout=5).content == FILES["m/1/model.bin"]
    part = requests.get(address, headers={"Range": "bytes=30-"}, timeout=5)
    assert part.status_code == 206 and part.content == FILES["m/1/model.bin"][30:]
    google.put("m/1/model.bin", b"new")
    assert requests.get(address, timeout=5).status_code == 404
    assert requests.get(f"{google.endpoint}/storage/v1/b/none/o", timeout=5).json()["error"]["code"] == 404
    google.delete("m/1/model.bin")
    assert len(requests.get(listing, {"prefix": "m/1/"}, timeout=5).json()["items"]) == 1


def blobs(cloud, credential):
    return ContainerClient(f"{cloud.endpoint}/{cloud.account}", cloud.container, credential=credential, retry_total=0)


def files(cloud, credential):
    return ShareClient(f"{cloud.endpoint}/{cloud.account}", cloud.container, credential=credential, retry_total=0)


@pytest.fixture
def blob():
    yield from filled(AzureBlob)


@pytest.fixture
def share():
    yield from filled(AzureFiles)


def test_azure_blob_answers_its_own_client(blob):
    client = blobs(blob, blob.key)
    assert [one.name for one in client.list_blobs(name_starts_with="m/")] == sorted(FILES)
    assert len(blob.calls) == 3, "three pages"
    got = client.download_blob("m/1/model.bin", offset=5, length=40)
    assert got.readall() == FILES["m/1/model.bin"][5:]
    for name in ("m/ü +%&=~.bin", "m/<&>\x01"):
        blob.put(name, b"x")
        assert name in [one.name for one in client.list_blobs()]
        assert client.download_blob(name).readall() == b"x"
    blob.container = "other"
    with pytest.raises(ResourceNotFoundError, match="ContainerNotFound"):
        list(client.list_blobs())


def test_azure_files_answer_their_own_client(share):
    client = files(share, share.key)
    found = [one.name for one in client.list_directories_and_files("m")]
    assert found == ["1", "2", "3"]
    found = list(client.list_directories_and_files("m/1", include=["timestamps", "Etag"]))
    assert [(one.name, one.size) for one in found] == [("model.bin", 36), ("model.xml", 36)]
    assert found[0].etag.strip('"').startswith("0x") and found[0].last_write_time
    got = client.get_file_client("m/1/model.bin").download_file(offset=5, length=40)
    assert got.readall() == FILES["m/1/model.bin"][5:]
    with pytest.raises(ResourceNotFoundError):
        list(client.list_directories_and_files("none"))


@pytest.mark.parametrize("kind", [AzureBlob, AzureFiles])
def test_azure_refuses_others(kind):
    with kind() as cloud:
        cloud.put("1/a", b"x")
        listed = {AzureBlob: lambda c: list(blobs(cloud, c).list_blobs()),
                  AzureFiles: lambda c: list(files(cloud, c).list_directories_and_files())}[kind]  # fmt: skip
        assert listed(cloud.key)
        with pytest.raises(ClientAuthenticationError):
            listed(base64.b64encode(b"other").decode())
        good = cloud.calls[0]
        assert cloud.fault(good) is None
        other = {"headers": {**good.headers, "x-ms-version": "2020-01-01"}}
        for change in ({"target": good.target + "&timeout=1"}, {"method": "HEAD"}, other):
            assert cloud.fault(dataclasses.replace(good, **change)).status == 403
        ranged = dataclasses.replace(good, headers={**good.headers, "range": "bytes=1-"})
        assert cloud.fault(ranged).status == 403, "Range is signed"
        ranged.headers["authorization"] = cloud.signature(ranged)
        assert cloud.fault(ranged) is None
        cloud.shared_access = True
        good = cloud.shared_access_signature()
        assert listed(good)
        for bad in (good[:-5] + "AAA%3D", cloud.shared_access_signature("l"), cloud.shared_access_signature(hours=-1)):
            with pytest.raises(HttpResponseError):
                listed(bad)
        assert len(cloud.secrets) > 1
