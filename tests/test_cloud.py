"""Models in S3, Google Cloud Storage, Azure Blob and Azure Files: fetched, followed, kept; what is told when they cannot be."""

import base64
import contextlib
import functools
import os
import pathlib
import signal
import stat
import tempfile
import threading

import pytest
from test_reload import Clients

from conftest import write_config
from harness import Server, wait_until
from testing.clouds import S3, Authority, AzureBlob, AzureFiles, Google
from testing.models.ir import plus_one

PADDING = 1 << 20
FOREIGN = (
    "AWS_",
    "S3_",
    "GOOGLE_",
    "AZURE_",
    "STORAGE_EMULATOR",
    "SSL_CERT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
)
KINDS = {"s3": S3, "gs": Google, "az": AzureBlob, "azfs": AzureFiles}


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    """No keys and no proxy of this machine's."""
    for name in list(os.environ):
        if name.upper().startswith(FOREIGN):
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))


@functools.cache
def model(addend):
    """Its files: it computes b + addend. The weights are a megabyte's; the topology is the same for every addend."""
    with tempfile.TemporaryDirectory() as folder:
        plus_one(pathlib.Path(folder), addend=addend)
        made = {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}
    return {**made, "padding.bin": bytes([addend]) + bytes(range(256)) * (PADDING // 256)}


def put(cloud, version, addend=None, folder="models/dummy"):
    for name, data in model(version if addend is None else addend).items():
        cloud.put(f"{folder}/{version}/{name}", data)


def delete(cloud, version, folder="models/dummy"):
    for name in model(1):
        cloud.delete(f"{folder}/{version}/{name}")


def env_of(cloud, tmp_path):
    return cloud.env_of(tmp_path, cloud.service_account()) if isinstance(cloud, Google) else cloud.env()


@pytest.fixture(params=list(KINDS))
def cloud(request):
    with KINDS[request.param]() as one:
        yield one


def only(*kinds):
    """Where it makes no difference which one it is."""
    return pytest.mark.parametrize("cloud", kinds, indirect=True)


@pytest.fixture
def s3():
    with S3() as one:
        yield one


def assert_nothing_told(cloud, server, folder):
    """No secret in what was logged, nor in any file that is left."""
    places = [server.log_file, *(path for path in folder.rglob("*") if path.is_file())]
    for place in places:
        text = place.read_bytes()
        for secret in cloud.secrets:
            assert secret.encode() not in text, f"{secret} in {place}"


def arguments(cloud, poll=1):
    return ["--model_name", "dummy", "--model_path", cloud.url("models/dummy"), "--target_device", "CPU",
            "--cloud_poll_wait_seconds", str(poll), "--log_level", "TRACE"]  # fmt: skip


@contextlib.contextmanager
def serving(cloud, tmp_path, *more, args=None, env=None, poll=1, told=True):
    """A server of the cloud's model; it never tells a secret."""
    logs = tmp_path / "logs"
    logs.mkdir(exist_ok=True)
    args = [*(arguments(cloud, poll) if args is None else args), "--log_path", logs / "extra.log", *more]
    with Server(tmp_path / "server", *args, env=env_of(cloud, tmp_path) if env is None else env) as server:
        yield server
        config = server.http("GET", "/v1/config").body
        assert not [secret for secret in cloud.secrets if secret.encode() in config]
    assert_nothing_told(cloud, server, logs)
    for folder in ("cache", "tmp"):
        assert_nothing_told(cloud, server, tmp_path / folder)


def failing(tmp_path, *args, env):
    """The log of a server whose only model cannot be had."""
    server = Server(tmp_path / "server", *args, env=env)
    assert server.wait_exit() == 1, server.log
    return server


def added(server, name="dummy", version=None):
    """What the model adds."""
    path = f"/v2/models/{name}" + (f"/versions/{version}" if version else "")
    tensor = {"name": "b", "shape": [1, 10], "datatype": "FP32", "data": [0.0] * 10}
    answer = server.http("POST", path + "/infer", {"inputs": [tensor]})
    assert answer.code == 200, answer
    return int(answer.json()["outputs"][0]["data"][0])


def rows(server, name="dummy"):
    return server.http("GET", f"/v1/models/{name}").json()["model_version_status"]


def states(server, name="dummy"):
    return {int(row["version"]): row["state"] for row in rows(server, name)}


def reasons(server, name="dummy"):
    return " ".join(row["status"]["error_message"] for row in rows(server, name))


def listings(cloud):
    return [call for call in cloud.calls if "list" in call.raw_query or call.raw_path.endswith("/o")]


def fetched(cloud):
    """The names of the objects that were got, below models/dummy."""
    paths = [call.path.partition("models/dummy/")[2] for call in cloud.calls if call not in listings(cloud)]
    return sorted(path for path in paths if path)


def version_files(version):
    return sorted(f"{version}/{name}" for name in model(1))


def copy_of(cache, version=1):
    """The files of the copy of the version that is served, by their names."""
    found = [path for path in cache.glob(f"*/{version}/**/*") if path.is_file() and not path.name.startswith(".")]
    with contextlib.suppress(FileNotFoundError):  # it was exchanged just now
        return {path.relative_to(cache).as_posix().split("/", 2)[2]: path.read_bytes() for path in found}
    return {}


def ranges(cloud, part):
    return [call.headers.get("range", call.headers.get("x-ms-range")) for call in cloud.gets(part)]


def test_the_newest_version_is_served_and_nothing_else_is_fetched(cloud, tmp_path):
    cloud.page_size = 2
    for version in (1, 2, 3):
        put(cloud, version)
    with serving(cloud, tmp_path, poll=0) as server:
        assert added(server) == 3 and states(server) == {3: "AVAILABLE"}
        assert fetched(cloud) == version_files(3)
        assert len(listings(cloud)) > 3, "pages"
        assert {call.status for call in cloud.calls} == {200}


def test_the_version_policy_says_what_is_fetched(cloud, tmp_path):
    for version in (1, 2, 3):
        put(cloud, version)
    entry = {"name": "dummy", "base_path": cloud.url("models/dummy"), "target_device": "CPU"}
    config = write_config(tmp_path / "config.json", [{**entry, "model_version_policy": {"specific": {"versions": [1, 3]}}}])
    with serving(cloud, tmp_path, args=["--config_path", config]) as server:
        assert states(server) == {1: "AVAILABLE", 3: "AVAILABLE"}
        assert (added(server, version=1), added(server, version=3)) == (1, 3)
        assert fetched(cloud) == version_files(1) + version_files(3)


def test_versions_that_come_and_go_are_followed_without_a_failed_call(s3, tmp_path):
    put(s3, 1)
    with serving(s3, tmp_path) as server, Clients(server.grpc, {1, 2, 3}) as clients:
        put(s3, 2)
        wait_until(lambda: clients.seen == 2, 20, "version 2")
        held = threading.Event()
        s3.on("padding.bin", hold=held, cut=1000, times=1, go_on=True)
        put(s3, 3)
        wait_until(lambda: any("/3/padding.bin" in call.path for call in s3.calls), 20, "the fetching")
        clients.go_on()
        assert clients.seen == 2, "it serves while another one comes"
        held.set()
        wait_until(lambda: clients.seen == 3, 20, "version 3")
        delete(s3, 3)
        wait_until(lambda: clients.seen == 2, 20, "version 2 again")
        wait_until(lambda: states(server) == {1: "END", 2: "AVAILABLE", 3: "END"}, 20, "the states")
        clients.go_on()
    assert clients.faults == []


def test_what_did_not_change_is_not_fetched_again(cloud, tmp_path):
    put(cloud, 1)
    with serving(cloud, tmp_path) as server, Clients(server.grpc, {1, 7}) as clients:
        assert added(server) == 1
        cloud.forget()
        cloud.put("models/dummy/1/model.bin", model(7)["model.bin"])
        wait_until(lambda: clients.seen == 7, 20, "the other weights")
        assert fetched(cloud) == ["1/model.bin"]
        assert states(server) == {1: "AVAILABLE"}
    assert clients.faults == []


def test_a_version_that_is_written_anew_goes_on_as_it_was(cloud, tmp_path):
    put(cloud, 1)
    put(cloud, 2)
    with serving(cloud, tmp_path) as server, Clients(server.grpc, {2, 7}) as clients:
        cloud.put("models/dummy/2/.incomplete", b"x")
        cloud.forget()
        wait_until(lambda: len(cloud.calls) > 3, 20, "more looks")
        cloud.put("models/dummy/2/model.bin", model(7)["model.bin"])
        clients.go_on()
        assert states(server) == {2: "AVAILABLE"} and clients.seen == 2
        cloud.delete("models/dummy/2/.incomplete")
        wait_until(lambda: clients.seen == 7, 20, "the other weights")
        assert fetched(cloud) == ["2/model.bin"]
    assert clients.faults == []


def test_a_file_that_comes_or_goes_changes_the_copy(s3, tmp_path):
    put(s3, 1)
    cache = tmp_path / "cache"
    with serving(s3, tmp_path, "--cloud_cache_dir", cache):
        s3.delete("models/dummy/1/padding.bin")
        s3.put("models/dummy/1/labels/names.txt", b"one\ntwo\n")
        expected = {"model.xml": model(1)["model.xml"], "model.bin": model(1)["model.bin"], "labels/names.txt": b"one\ntwo\n"}
        wait_until(lambda: copy_of(cache) == expected, 20, "the copy as it is to be")


@only("s3")
def test_a_cloud_that_goes_away_leaves_what_serves(cloud, tmp_path):
    put(cloud, 1)
    with serving(cloud, tmp_path) as server:
        cloud.away()
        wait_until(lambda: "cannot be fetched" in server.log, 20, "the fault in the log")
        put(cloud, 2)
        assert added(server) == 1 and states(server) == {1: "AVAILABLE"}
        cloud.back()
        wait_until(lambda: states(server).get(2) == "AVAILABLE", 20, "version 2")
        assert added(server) == 2 and "can be fetched again" in server.log


def test_the_cache_serves_while_the_cloud_is_away(cloud, tmp_path):
    put(cloud, 1)
    cache = tmp_path / "cache"
    with serving(cloud, tmp_path, "--cloud_cache_dir", cache):
        pass
    cloud.forget()
    with serving(cloud, tmp_path, "--cloud_cache_dir", cache) as server:
        assert added(server) == 1
    assert listings(cloud) and fetched(cloud) == []
    cloud.away()
    with serving(cloud, tmp_path, "--cloud_cache_dir", cache) as server:
        assert added(server) == 1
        put(cloud, 2)
        cloud.back()
        wait_until(lambda: states(server).get(2) == "AVAILABLE", 20, "version 2")
        assert added(server) == 2 and fetched(cloud) == version_files(2)


def test_what_is_damaged_in_the_cache_is_fetched_anew(s3, tmp_path):
    put(s3, 1)
    cache = tmp_path / "cache"
    with serving(s3, tmp_path, "--cloud_cache_dir", cache):
        pass
    s3.forget()
    (weights,) = cache.rglob("model.bin")
    os.truncate(weights, 1)
    with serving(s3, tmp_path, "--cloud_cache_dir", cache) as server:
        assert added(server) == 1
    assert fetched(s3) == ["1/model.bin"]


def test_what_was_compiled_is_found_again_wherever_its_copy_lies(cloud, tmp_path):
    put(cloud, 1)

    def serve():
        with serving(cloud, tmp_path, "--cache_dir", tmp_path / "compiled", poll=0) as server:
            return added(server), server.http("GET", "/v1/models/dummy/placement").json()["cache"]

    assert [serve(), serve()] == [(1, "miss"), (1, "hit")]
    put(cloud, 1, addend=5)
    assert [serve(), serve()] == [(5, "miss"), (5, "hit")]


def test_what_breaks_off_is_gone_on_with(cloud, tmp_path):
    put(cloud, 1)
    cloud.on("padding.bin", cut=300_000, times=1)
    cloud.on("padding.bin", cut=200_000, times=1)
    with serving(cloud, tmp_path, "--cloud_cache_dir", tmp_path / "cache"):
        (copy,) = (tmp_path / "cache").rglob("padding.bin")
        assert copy.read_bytes() == model(1)["padding.bin"]
    assert ranges(cloud, "padding.bin") == [None, "bytes=300000-", "bytes=500000-"]


def change_while_it_comes(cloud, version, held):
    """All files are others when the first piece of one of them has come."""
    wait_until(lambda: any(call.sent for call in cloud.gets(f"{version}/padding.bin")), 20, "the first piece")
    put(cloud, version, 5)
    held.set()


@only("s3", "azfs")
def test_a_version_that_changes_while_it_comes_is_never_a_mixture(cloud, tmp_path):
    put(cloud, 1)
    held = threading.Event()
    with serving(cloud, tmp_path, "--cloud_cache_dir", tmp_path / "cache") as server:
        with Clients(server.grpc, {1, 5}) as clients:
            cloud.on("2/padding.bin", hold=held, cut=300_000, times=1)
            put(cloud, 2)
            change_while_it_comes(cloud, 2, held)
            wait_until(lambda: clients.seen == 5, 20, "the version as it is now")
        assert clients.faults == [], "and as it was at first it never served"
        assert copy_of(tmp_path / "cache", 2) == model(5)


def test_a_version_that_changes_while_it_comes_at_the_start(cloud, tmp_path):
    put(cloud, 1)
    held = threading.Event()
    cloud.on("padding.bin", hold=held, cut=300_000, times=1)
    server = Server(
        tmp_path / "server", *arguments(cloud), "--cloud_cache_dir", tmp_path / "cache", env=env_of(cloud, tmp_path)
    )
    try:
        change_while_it_comes(cloud, 1, held)
        server.wait_ready()
        assert added(server) == 5 and copy_of(tmp_path / "cache") == model(5)
        assert server.stop() == 0
    finally:
        held.set()
        server.kill()


def test_passing_faults_are_tried_again(cloud, tmp_path):
    put(cloud, 1)
    cloud.on("model.xml", code=503, times=1, headers={"Retry-After": "0"})
    cloud.on("model.bin", code=500, times=1)
    with serving(cloud, tmp_path) as server:
        assert added(server) == 1


def test_who_may_not_is_told_so(cloud, tmp_path):
    put(cloud, 1)
    env, other = env_of(cloud, tmp_path), KINDS[cloud.url("").partition(":")[0]]()
    with other:
        theirs = env_of(other, tmp_path / "home")
    if isinstance(cloud, S3):
        env["AWS_SECRET_ACCESS_KEY"], expected = other.secret, "SignatureDoesNotMatch"
    elif isinstance(cloud, Google):
        document = {**other.service_account(), "token_uri": cloud.endpoint + "/token"}
        env, expected = cloud.env_of(tmp_path, document), "Invalid JWT Signature"
    else:
        text = env["AZURE_STORAGE_CONNECTION_STRING"].replace(cloud.key, other.key)
        env, expected = {"AZURE_STORAGE_CONNECTION_STRING": text}, "AuthenticationFailed"
    server = failing(tmp_path, *arguments(cloud), env=env)
    assert expected in server.log and cloud.url("models/dummy") in server.log
    assert theirs
    assert_nothing_told(cloud, server, tmp_path / "server")
    assert_nothing_told(other, server, tmp_path / "server")


def test_a_bucket_that_is_not_there_is_told(cloud, tmp_path):
    put(cloud, 1)
    args = arguments(cloud)
    args[3] = cloud.url("models/dummy").replace("://" + getattr(cloud, "bucket", "models"), "://no-such-bucket")
    server = failing(tmp_path, *args, env=env_of(cloud, tmp_path))
    assert "404" in server.log and "no-such-bucket" in server.log


def test_a_folder_without_versions_is_told(cloud, tmp_path):
    cloud.put("models/dummy/readme.txt", b"x")
    server = failing(tmp_path, *arguments(cloud), env=env_of(cloud, tmp_path))
    assert f"{cloud.url('models/dummy')}/<number>/" in server.log


def test_a_cloud_that_is_not_there_is_told(cloud, tmp_path):
    put(cloud, 1)
    env = env_of(cloud, tmp_path)
    cloud.away()
    server = failing(tmp_path, *arguments(cloud), env=env)
    assert "connect" in server.log.lower() and str(cloud.port) in server.log


@only("az")
def test_among_several_models_one_that_cannot_be_had_is_tried_again(cloud, tmp_path):
    put(cloud, 1)
    put(cloud, 1, 4, "models/other")
    cloud.on("models/other", code=403)
    entries = [{"name": name, "base_path": cloud.url(f"models/{name}"), "target_device": "CPU"} for name in ("dummy", "other")]
    config = write_config(tmp_path / "config.json", entries)
    with serving(cloud, tmp_path, args=["--config_path", config, "--cloud_poll_wait_seconds", "1"]) as server:
        assert added(server) == 1
        assert server.http("GET", "/v2/models/other/ready").code != 200
        wait_until(lambda: "403" in reasons(server, "other"), 10, "the reason")
        cloud.forget()
        wait_until(lambda: states(server, "other").get(1) == "AVAILABLE", 30, "another try")
        assert added(server, "other") == 4


def test_anybody_may_read_what_is_public(tmp_path):
    for kind in (S3, Google):
        with kind() as cloud:
            put(cloud, 1)
            cloud.public = True
            env = {"S3_ENDPOINT": cloud.address, "STORAGE_EMULATOR_HOST": cloud.endpoint}
            with serving(cloud, tmp_path, env=env, poll=0) as server:
                assert added(server) == 1
            assert not [call for call in cloud.calls if "authorization" in call.headers]


def test_keys_of_a_profile_and_its_region(tmp_path):
    with S3(region="eu-central-1") as cloud:
        put(cloud, 1)
        (tmp_path / "credentials").write_text(
            f"[default]\naws_access_key_id = x\naws_secret_access_key = y\n"
            f"[team]\naws_access_key_id = {cloud.id}\naws_secret_access_key = {cloud.secret}\n"
        )
        (tmp_path / "config").write_text("[profile team]\nregion = eu-central-1\n")
        env = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"), "AWS_CONFIG_FILE": str(tmp_path / "config")}
        env.update({"AWS_PROFILE": "team", "AWS_ENDPOINT_URL": cloud.endpoint})
        with serving(cloud, tmp_path, env=env, poll=0) as server:
            assert added(server) == 1
        assert {call.status for call in cloud.calls} == {200}
        failed = failing(tmp_path, *arguments(cloud), env={**env, "AWS_PROFILE": "none"})
        assert "none" in failed.log and "AWS_PROFILE" in failed.log


def test_keys_of_a_session(s3, tmp_path):
    put(s3, 1)
    key_id, secret, token = s3.session()
    env = {**s3.env(), "AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}
    with serving(s3, tmp_path, env=env, poll=0) as server:
        assert added(server) == 1


@pytest.mark.parametrize("way", ["web_identity", "container"])
def test_keys_that_a_service_gives_out(s3, tmp_path, way):
    put(s3, 1)
    env = s3.web_identity_env(tmp_path / "home") if way == "web_identity" else s3.container_env()
    with serving(s3, tmp_path, env=env) as server:
        assert added(server) == 1
        put(s3, 2)
        wait_until(lambda: states(server).get(2) == "AVAILABLE", 20, "version 2")
        assert len(s3.handed_out) == 1, "asked for once, kept until they end"
        s3.expired.update(s3.handed_out)  # taken back before
        put(s3, 3)
        wait_until(lambda: states(server).get(3) == "AVAILABLE", 20, "version 3, by new keys")


def test_a_bucket_of_another_region_is_found(tmp_path):
    with S3(region="eu-central-1") as cloud:
        put(cloud, 1)
        with serving(cloud, tmp_path, env={**cloud.env(), "AWS_REGION": "us-west-2"}, poll=0) as server:
            assert added(server) == 1
        assert [call.status for call in cloud.calls].count(400) == 1


def test_the_url_may_name_the_server(s3, tmp_path):
    put(s3, 1)
    args = arguments(s3, poll=0)
    args[3] = f"s3://{s3.address}/{s3.bucket}/models/dummy"
    env = s3.env()
    del env["S3_ENDPOINT"]
    with serving(s3, tmp_path, args=args, env=env) as server:
        assert added(server) == 1


def test_a_user_of_google(tmp_path):
    with Google() as cloud:
        put(cloud, 1)
        with serving(cloud, tmp_path, env=cloud.env_of(tmp_path, cloud.authorized_user())) as server:
            assert added(server) == 1
            assert len(cloud.tokens) == 1, "asked for once, kept until it ends"
            cloud.tokens.update(dict.fromkeys(cloud.tokens, 0))  # taken back before
            put(cloud, 2)
            wait_until(lambda: states(server).get(2) == "AVAILABLE", 20, "version 2, by a new token")


@pytest.mark.parametrize("kind", [AzureBlob, AzureFiles])
def test_a_shared_access_signature(kind, tmp_path):
    with kind() as cloud:
        put(cloud, 1)
        cloud.shared_access = True
        with serving(cloud, tmp_path, env=cloud.shared_access_env(), poll=0) as server:
            assert added(server) == 1
            assert fetched(cloud) == version_files(1)
            assert {call.status for call in cloud.calls} == {200}
        env = cloud.shared_access_env()
        cloud.key = base64.b64encode(b"another one").decode()
        assert "AuthenticationFailed" in failing(tmp_path, *arguments(cloud), env=env).log
        assert "AZURE_STORAGE_CONNECTION_STRING" in failing(tmp_path, *arguments(cloud), env={}).log


@pytest.mark.parametrize("kind", [S3, AzureBlob])
def test_objects_whose_names_leave_the_folder_are_never_written(kind, tmp_path):
    with kind() as cloud:
        put(cloud, 1)
        names = ["../evil", "/evil", "1/../../evil", "1/sub/../../../evil", "1/./evil", "1//evil"]
        for name in [*names, "1/.hidden/evil", "1/a\\..\\evil", "1/evil\x01"]:
            cloud.put(f"models/dummy/{name}", b"evil")
        with serving(cloud, tmp_path, "--cloud_cache_dir", tmp_path / "cache", poll=0) as server:
            assert added(server) == 1
            assert "would leave the model's folder" in server.log
        assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]
        assert not [call for call in cloud.calls if call not in listings(cloud) and "evil" in call.path]


def test_names_of_all_kinds_are_fetched(cloud, tmp_path):
    put(cloud, 1)
    names = ["a b+c%20&d=e~.txt", "ünïcode/日本.txt", "it's (a)!*;,@$.txt", "deep/er/and/deeper.txt"]
    for name in names:
        cloud.put(f"models/dummy/1/{name}", name.encode())
    with serving(cloud, tmp_path, "--cloud_cache_dir", tmp_path / "cache", poll=0):
        (topology,) = (tmp_path / "cache").rglob("model.xml")
        for name in names:
            assert (topology.parent / name).read_text() == name


def test_tls_by_an_authority_that_is_named(tmp_path):
    authority = Authority(tmp_path / "authority")
    with S3(authority) as cloud:
        put(cloud, 1)
        trusting = {**cloud.env(), "SSL_CERT_FILE": str(authority.file)}
        with serving(cloud, tmp_path, env=trusting, poll=0) as server:
            assert added(server) == 1
        args = arguments(cloud)
        args[3] = f"s3://{cloud.endpoint}/{cloud.bucket}/models/dummy"
        with serving(cloud, tmp_path, args=args, env={**trusting, "S3_ENDPOINT": ""}) as server:
            assert added(server) == 1
        with serving(cloud, tmp_path, env={**trusting, "S3_ENDPOINT": cloud.address, "S3_USE_HTTPS": "1"}) as server:
            assert added(server) == 1
        cloud.forget()
        assert "certificate" in failing(tmp_path, *arguments(cloud), env=cloud.env()).log
        assert not cloud.calls


@only("gs")
def test_a_reload_looks_at_the_cloud(cloud, tmp_path):
    put(cloud, 1)
    config = write_config(tmp_path / "config.json", [])
    polls = ["--cloud_poll_wait_seconds", "0", "--file_system_poll_wait_seconds", "0"]
    with serving(cloud, tmp_path, args=["--config_path", config, *polls]) as server:
        entry = {"name": "dummy", "base_path": cloud.url("models/dummy"), "target_device": "CPU"}
        write_config(config, [entry])
        answer = server.http("POST", "/v1/config/reload")
        assert answer.code in (200, 201), answer
        assert added(server) == 1
        put(cloud, 2)
        calls = len(cloud.calls)
        answer = server.http("POST", "/v1/config/reload")
        assert answer.code in (200, 201), answer
        wait_until(lambda: states(server).get(2) == "AVAILABLE", 20, "version 2")
        assert len(cloud.calls) > calls and added(server) == 2
        write_config(config, [])
        server.http("POST", "/v1/config/reload")
        wait_until(lambda: server.http("GET", "/v2/models/dummy/ready").code != 200, 20, "the model to go")


@only("s3", "az")
def test_a_server_that_is_killed_while_it_fetches(cloud, tmp_path):
    put(cloud, 1)
    cache, held = tmp_path / "cache", threading.Event()
    cloud.on("padding.bin", hold=held, cut=300_000, times=1)
    args = [*arguments(cloud), "--cloud_cache_dir", cache]
    server = Server(tmp_path / "server", *args, env=env_of(cloud, tmp_path))
    try:
        wait_until(lambda: any(path.stat().st_size == 300_000 for path in cache.rglob(".incoming.part")), 20, "a piece")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    finally:
        server.kill()
        held.set()
    with serving(cloud, tmp_path, "--cloud_cache_dir", cache) as again:
        assert added(again) == 1
        (copy,) = cache.rglob("padding.bin")
        assert copy.read_bytes() == model(1)["padding.bin"]
    assert ranges(cloud, "padding.bin")[1] == "bytes=300000-"
    assert not list(cache.rglob("*.part"))


def test_without_a_folder_the_copies_are_private_and_go_at_the_end(s3, tmp_path):
    put(s3, 1)
    with serving(s3, tmp_path, poll=0):
        (made,) = (tmp_path / "tmp").iterdir()
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
        assert list(made.rglob("model.xml"))
    assert list((tmp_path / "tmp").iterdir()) == []


def test_two_servers_share_a_folder(s3, tmp_path):
    put(s3, 1)
    cache = tmp_path / "cache"
    args, env = [*arguments(s3), "--cloud_cache_dir", cache], s3.env()
    with contextlib.ExitStack() as stack:
        both = [Server(tmp_path / name, *args, env=env) for name in ("one", "two")]
        servers = [stack.enter_context(server) for server in both]
        assert [added(server) for server in servers] == [1, 1]
        assert fetched(s3) == version_files(1), "by one of them"
        put(s3, 2)
        for server in servers:
            wait_until(lambda s=server: states(s).get(2) == "AVAILABLE", 20, "version 2")
        assert [added(server) for server in servers] == [2, 2]


@pytest.mark.parametrize(
    "url", ["s3://", "gs:///folder", "az://a b/folder", "s3://user:key@host:1/bucket/folder", "s3://b/x//y"]
)
def test_urls_that_name_no_folder_are_refused(url, tmp_path):
    server = Server(tmp_path / "server", "--model_name", "dummy", "--model_path", url)
    assert server.wait_exit() == 64, server.log
    assert "expected " in server.log and "user:key" not in server.log
