"""switchyard pull: from a server of our own that breaks off, redirects, refuses and lies, into a repository that is served."""

import hashlib
import io
import json
import os
import pathlib
import resource
import signal
import subprocess
import threading
import zipfile

import numpy as np
import pytest

from conftest import magika
from harness import Server, binary, run_binary, wait_until
from web import SLOW_PIECE, Web

@pytest.fixture
def other():
    one = Web()
    yield one
    one.close()


def pull(*args, code=0, env=None):
    done = run_binary("pull", *args, env={"HF_TOKEN": "", "HF_ENDPOINT": "", **(env or {})}, timeout_s=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def put_model(web, models, name="/files/m.onnx"):
    web.files[name] = next((models / "onnx" / "1").glob("*.onnx")).read_bytes()
    return web.files[name]


def put_hub(web, repository, files, revision="main", commit="c" * 40, lfs=(".bin", ".onnx")):
    """A repository as Hugging Face's API tells of it."""
    siblings = []
    for name, data in files.items():
        row = {"rfilename": name, "size": len(data)}
        row["blobId"] = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
        if name.endswith(lfs):
            row["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 130}
        siblings.append(row)
        web.files[f"/{repository}/resolve/{commit}/{name}"] = data
    web.files[f"/api/models/{repository}/revision/{revision}"] = json.dumps({"sha": commit, "siblings": siblings}).encode()


def versions(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_url_is_pulled_and_served_and_is_there_the_second_time(web, models, tmp_path):
    data = put_model(web, models)
    args = [web.url + "/files/m.onnx?key=secret", "--repository", tmp_path, "--sha256", sha256(data), "--json"]
    first = pull(*args)
    told = json.loads(first.stdout)
    assert told["version"] == 1 and told["verified"] and not told["was_there"] and told["fetched"] == len(data)
    assert told["files"] == [{"path": "m.onnx", "sha256": sha256(data)}]
    assert "secret" not in first.stderr and all(json.loads(line) for line in first.stderr.splitlines())
    assert versions(tmp_path / "m") == ["1"] and (tmp_path / "m/1/m.onnx").read_bytes() == data
    web.requests.clear()
    assert json.loads(pull(*args).stdout)["was_there"] and not web.requests
    with Server(tmp_path / "s", "--model_name", "m", "--model_path", tmp_path / "m", "--target_device", "CPU") as server:
        assert server.http("GET", "/v2/models/m/ready").code == 200


def test_without_a_hash_it_says_so_and_makes_no_second_version(web, models, tmp_path):
    data = put_model(web, models)
    for was_there in (False, True):
        done = pull(web.url + "/files/m.onnx", "--repository", tmp_path, "--json")
        told = json.loads(done.stdout)
        assert not told["verified"] and told["was_there"] == was_there and sha256(data) in done.stderr
    web.files["/files/m.onnx"] = data + b"\0"
    assert json.loads(pull(web.url + "/files/m.onnx", "--repository", tmp_path, "--json").stdout)["version"] == 2
    assert versions(tmp_path / "m") == ["1", "2"]


def test_what_is_cut_in_the_middle_is_gone_on_with(web, tmp_path):
    data = web.files["/m.onnx"] = os.urandom(1 << 20)
    web.plan["/m.onnx"] = [{"cut": 300000}, {"cut": 300000}]
    told = json.loads(pull(web.url + "/m.onnx", "--repository", tmp_path, "--json").stdout)
    assert told["fetched"] == len(data) and (tmp_path / "m/1/m.onnx").read_bytes() == data
    assert [headers.get("Range") for _, headers in web.requests] == [None, "bytes=300000-", "bytes=600000-"]


def test_a_file_that_changed_meanwhile_is_begun_again(web, tmp_path):
    web.files["/m.onnx"] = os.urandom(1 << 20)
    web.plan["/m.onnx"] = [{"cut": 300000}]
    pull(web.url + "/m.onnx", "--repository", tmp_path, "--tries", "0", code=1)
    web.files["/m.onnx"] = os.urandom(1 << 20)
    pull(web.url + "/m.onnx", "--repository", tmp_path)
    assert (tmp_path / "m/1/m.onnx").read_bytes() == web.files["/m.onnx"]


def test_what_was_damaged_on_the_disk_is_fetched_anew(web, tmp_path):
    data = web.files["/m.onnx"] = os.urandom(1 << 20)
    web.plan["/m.onnx"] = [{"cut": 300000}]
    args = [web.url + "/m.onnx", "--repository", tmp_path, "--sha256", sha256(data)]
    pull(*args, "--tries", "0", code=1)
    (part,) = (tmp_path / "m").rglob("*.part")
    part.write_bytes(bytes(part.stat().st_size))
    assert "from the beginning again" in pull(*args).stderr
    assert (tmp_path / "m/1/m.onnx").read_bytes() == data


def test_a_url_with_a_password_is_neither_told_nor_left_behind(web, tmp_path):
    web.files["/m.onnx"] = os.urandom(1 << 20)
    web.plan["/m.onnx"] = [{"cut": 300000}]
    url = web.url.replace("//", "//me:hunter2@") + "/m.onnx?sig=hunter3"
    told = pull(url, "--repository", tmp_path, "--tries", "0", code=1)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in left) == [".part", ".tag"]
    for text in (told.stdout.encode(), told.stderr.encode(), *(path.read_bytes() for path in left)):
        assert b"hunter" not in text
    pull(url, "--repository", tmp_path)
    assert [headers.get("Range") for _, headers in web.requests] == [None, "bytes=300000-"]
    told = pull("https://me:hun/ter@host/m.onnx", "--repository", tmp_path, code=1)
    assert "https://<not a valid URL>" in told.stderr and "ter@" not in told.stderr and "hun" not in told.stderr


def test_a_wrong_hash_leaves_nothing_to_serve(web, models, tmp_path):
    data = put_model(web, models)
    done = pull(web.url + "/files/m.onnx", "--repository", tmp_path, "--sha256", "0" * 64, code=1)
    assert f"expected SHA-256 {'0' * 64}, got {sha256(data)}" in done.stderr
    assert not [name for name in versions(tmp_path / "m") if not name.startswith(".")]
    assert not list(tmp_path.rglob("*.part"))


def test_retry_after_is_waited_for(web, models, tmp_path):
    put_model(web, models)
    web.plan["/files/m.onnx"] = [{"code": 429, "headers": {"Retry-After": "1"}}, {"code": 503, "headers": {"Retry-After": "0"}}]
    done = pull(web.url + "/files/m.onnx", "--repository", tmp_path)
    assert "HTTP 429; trying again in 1.0 s" in done.stderr and "HTTP 503; trying again in 0.0 s" in done.stderr
    web.plan["/files/m.onnx"] = [{"code": 503, "headers": {"Retry-After": "0"}}] * 3
    assert "HTTP 503" in pull(web.url + "/files/m.onnx", "--repository", tmp_path / "x", "--tries", "2", code=1).stderr
    assert "HTTP 404" in pull(web.url + "/none.onnx", "--repository", tmp_path / "x", code=1).stderr
    assert not list((tmp_path / "x").rglob("*")), "a pull that got nothing leaves nothing"


def test_bytes_that_came_before_are_no_progress(web, models, tmp_path):
    data = put_model(web, models)
    web.plan["/files/m.onnx"] = [{"code_of_whole": True, "cut": len(data) // 2} for _ in range(20)]
    done = pull(web.url + "/files/m.onnx", "--repository", tmp_path, "--tries", "2", code=1)
    # The first answer brought something new; then two more tries, and no others.
    assert web.paths().count("/files/m.onnx") == 3, done.stderr


def test_a_web_page_is_no_model(web, tmp_path):
    for name, page in {"a.onnx": b"\n <!doctype html><html>Log in</html>", "b.xml": b"\xef\xbb\xbf<html>Log in</html>"}.items():
        web.files["/" + name] = page
        done = pull(f"{web.url}/{name}", "--repository", tmp_path, code=1)
        assert "a web page came, no model" in done.stderr
    assert not list(tmp_path.rglob("*")), "nothing is left"


def test_a_repository_of_the_hub(web, models, tmp_path):
    xml, weights = (next((models / "dummy/1").glob(f"*.{kind}")).read_bytes() for kind in ("xml", "bin"))
    files = {"openvino_model.xml": xml, "openvino_model.bin": weights, "openvino_tokenizer.xml": b"x",
             "openvino_tokenizer.bin": b"y", "README.md": b"z"}  # fmt: skip
    put_hub(web, "Org/net", files)
    told = json.loads(pull("Org/net", "--repository", tmp_path, "--mirror", web.url, "--json").stdout)
    assert told["verified"] and sorted(os.listdir(tmp_path / "net/1")) == ["openvino_model.bin", "openvino_model.xml"]
    assert all("c" * 40 in path for path in web.paths()[1:]), "files are those of the commit"
    with Server(tmp_path / "s", "--model_name", "m", "--model_path", tmp_path / "net", "--target_device", "CPU") as server:
        assert server.http("GET", "/v2/models/m/ready").code == 200
    web.requests.clear()
    again = json.loads(pull("Org/net", "--repository", tmp_path, "--json", env={"HF_ENDPOINT": web.url}).stdout)
    assert again["was_there"] and len(web.requests) == 1
    put_hub(web, "Org/net", {**files, "openvino_model.xml": xml + b"\n"}, revision="v2", commit="d" * 40)
    newer = pull("Org/net", "--repository", tmp_path, "--mirror", web.url, "--revision", "v2", "--json")
    assert json.loads(newer.stdout)["version"] == 2


def test_a_saved_model_comes_with_its_weights(web, models, tmp_path):
    source = next(models.rglob("saved_model.pb")).parent
    files = {f"net/{path.relative_to(source)}": path.read_bytes() for path in source.rglob("*") if path.is_file()}
    files |= {"net/fingerprint.pb": b"f", "net/keras_metadata.pb": b"k", "README.md": b"z"}
    put_hub(web, "Org/net", files)
    pull("Org/net", "--repository", tmp_path, "--mirror", web.url)
    there = {str(path.relative_to(tmp_path / "net/1")) for path in (tmp_path / "net/1").rglob("*") if path.is_file()}
    assert there == {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    with Server(tmp_path / "s", "--model_name", "m", "--model_path", tmp_path / "net", "--target_device", "CPU") as server:
        assert server.http("GET", "/v2/models/m/ready").code == 200


def test_weights_of_an_onnx_model_in_parts(web, tmp_path):
    put_hub(web, "Org/net", {"onnx/m.onnx": b"m", "onnx/m.onnx_data": b"0", "onnx/m.onnx_data_1": b"1", "README.md": b"z"})
    pull("Org/net", "--repository", tmp_path, "--mirror", web.url)
    assert versions(tmp_path / "net/1") == ["m.onnx", "m.onnx_data", "m.onnx_data_1"]


def test_a_package_that_cannot_be_had_leaves_nothing(web, tmp_path):
    env = {"PIP_NO_INDEX": "", "PIP_FIND_LINKS": ""}
    done = pull("magika", "--repository", tmp_path, "--mirror", web.url + "/simple", code=1, env=env)
    assert "pip did not fetch" in done.stderr and not list(tmp_path.rglob("*"))


def put_package(web, tmp_path, content, compression=zipfile.ZIP_STORED):
    """A package with one model at an index of our own, and what pulls it."""
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w", compression) as archive:
        archive.writestr("net/model.onnx", content)
        archive.writestr("net-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: net\nVersion: 1.0\n")
        archive.writestr("net-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("net-1.0.dist-info/RECORD", "")
    name = "net-1.0-py3-none-any.whl"
    web.files["/simple/net/"] = f'<!DOCTYPE html><html><body><a href="/{name}">{name}</a></body></html>'.encode()
    web.files["/" + name] = wheel.getvalue()
    package = {"name": "net", "version": "1.0", "sha256": sha256(wheel.getvalue())}
    file = {"from": "net/model.onnx", "to": "model.onnx", "bytes": len(content), "sha256": sha256(content)}
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps({"models": {"net": {"about": "a net", "package": package, "files": [file]}}}))
    args = ["net", "--repository", tmp_path / "r", "--catalog", catalog, "--mirror", web.url + "/simple", "--json"]
    return "/" + name, args


# No index but ours, which pip keeps things of, though it speaks no TLS; a cache that is off is on for a pull.
PIP = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "", "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "",
       "PIP_INDEX_URL": "", "PIP_NO_CACHE_DIR": "1", "PIP_TRUSTED_HOST": "127.0.0.1"}  # fmt: skip


def test_a_package_that_comes_tells_how_far_it_is_and_a_killed_pull_is_begun_again(web, tmp_path):
    content = os.urandom(3 << 20)
    wheel, args = put_package(web, tmp_path, content)
    held = threading.Event()
    web.plan[wheel] = [{"hold": held, "piece": 2 << 20}]
    log = tmp_path / "err"
    with log.open("w") as stderr:
        process = subprocess.Popen([binary(), "pull", *args], stderr=stderr, stdout=stderr, env={**os.environ, **PIP})
    try:
        told = lambda: [json.loads(line) for line in log.read_text().splitlines() if '"bytes"' in line]  # noqa: E731
        wait_until(lambda: any(row["bytes"] > 1 << 20 for row in told()), what="progress")
        assert {row["file"] for row in told()} == {"net 1.0"}
    finally:
        process.kill()
        process.wait()
        held.set()
    assert all(name.startswith(".") for name in versions(tmp_path / "r/net"))
    done = pull(*args, env=PIP)
    assert (tmp_path / "r/net/1/model.onnx").read_bytes() == content and json.loads(done.stdout)["version"] == 1
    rows = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"file": "net 1.0", "bytes": len(web.files[wheel]), "of": len(web.files[wheel])} in rows
    assert versions(tmp_path / "r/net") == ["1"], "what pip kept is gone"


def test_an_interrupted_pull_of_a_package_leaves_nothing_running(web, tmp_path):
    wheel, args = put_package(web, tmp_path, os.urandom(3 << 20))
    held = threading.Event()
    web.plan[wheel] = [{"hold": held}]
    process = subprocess.Popen([binary(), "pull", *args], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               env={**os.environ, **PIP})  # fmt: skip

    def others():
        """Processes that work in the repository's folder."""
        command_lines = (path.read_bytes() for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if path.exists())
        return [line for line in command_lines if b"download" in line and str(tmp_path / "r").encode() in line]

    try:
        wait_until(lambda: wheel in web.paths() and others(), what="pip to fetch")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert not others()
    finally:
        process.kill()
        process.wait()
        held.set()
    assert pull(*args, env=PIP).returncode == 0


def test_a_package_that_came_whole_is_not_fetched_again(web, tmp_path):
    """Files cannot grow beyond a megabyte: the package comes, its model finds no room."""
    content = bytes(3 << 20)
    wheel, args = put_package(web, tmp_path, content, zipfile.ZIP_DEFLATED)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        done = pull(*args, code=1, env=PIP)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "cannot be unpacked" in done.stderr and all(name.startswith(".") for name in versions(tmp_path / "r/net"))
    web.requests.clear()
    assert "is here already" in pull(*args, env=PIP).stderr
    assert not web.requests and (tmp_path / "r/net/1/model.onnx").read_bytes() == content
    assert versions(tmp_path / "r/net") == ["1"]


def test_what_pip_has_in_its_cache_is_not_fetched_again(web, tmp_path):
    """It ends after the package came whole, before it is put where it is looked for."""
    content = os.urandom(3 << 20)
    wheel, args = put_package(web, tmp_path, content)
    web.plan[wheel] = [{"headers": {"Cache-Control": "max-age=3600"}}]
    env = {**PIP, "PYTHONPATH": str(tmp_path / "ends")}
    (tmp_path / "ends").mkdir()
    (tmp_path / "ends/sitecustomize.py").write_text(
        "import os, shutil\n"
        "def end(*args, **named):\n"
        "    os._exit(3)\n"
        "shutil.copy = end\n"
    )
    assert "exit code 3" in pull(*args, code=1, env=env).stderr
    assert web.paths().count(wheel) == 1
    pull(*args, env=PIP)
    assert web.paths().count(wheel) == 1 and (tmp_path / "r/net/1/model.onnx").read_bytes() == content
    assert versions(tmp_path / "r/net") == ["1"]


def test_a_wrong_package_is_not_kept(web, tmp_path):
    wheel, args = put_package(web, tmp_path, os.urandom(2 << 20))
    good = web.files[wheel]
    web.files[wheel] = good[:-100] + bytes(100)
    web.plan[wheel] = [{"headers": {"Cache-Control": "max-age=3600"}}]
    assert "pip did not fetch net 1.0" in pull(*args, code=1, env=PIP).stderr
    web.files[wheel] = good
    pull(*args, env=PIP)
    assert versions(tmp_path / "r/net") == ["1"]


def test_a_wrong_byte_of_a_small_file_is_found_too(web, tmp_path):
    put_hub(web, "Org/net", {"a.xml": b"12345", "a.bin": b"12"})
    web.files["/Org/net/resolve/" + "c" * 40 + "/a.xml"] = b"12346"
    assert "expected git's SHA-1" in pull("Org/net", "--repository", tmp_path, "--mirror", web.url, code=1).stderr


def test_the_token_stays_with_the_hub(web, other, models, tmp_path):
    data = put_model(other, models, "/blob")
    put_hub(web, "Org/net", {"model.onnx": data})
    path = "/Org/net/resolve/" + "c" * 40 + "/model.onnx"
    web.plan[path] = [{"code": 302, "headers": {"Location": other.url + "/blob?sig=1", "X-Linked-Etag": f'"{sha256(data)}"'}}]
    done = pull("Org/net", "--repository", tmp_path, env={"HF_ENDPOINT": web.url, "HF_TOKEN": "hf_secret"})
    assert (tmp_path / "net/1/model.onnx").read_bytes() == data
    assert [headers.get("Authorization") for _, headers in web.requests] == ["Bearer hf_secret"] * 2
    assert other.paths() == ["/blob"] and "Authorization" not in other.requests[0][1]
    assert "hf_secret" not in done.stdout + done.stderr


def test_the_hash_that_the_server_tells_is_held_against_the_file(web, models, tmp_path):
    put_model(web, models)
    web.plan["/files/m.onnx"] = [{"headers": {"X-Linked-Etag": '"' + "1" * 64 + '"'}}]
    assert "expected SHA-256 111" in pull(web.url + "/files/m.onnx", "--repository", tmp_path, code=1).stderr


def test_a_closed_repository_names_the_variable(web, tmp_path):
    web.plan["/api/models/Org/net/revision/main"] = [{"code": 401}]
    assert "set HF_TOKEN" in pull("Org/net", "--repository", tmp_path, "--mirror", web.url, code=1).stderr


@pytest.mark.parametrize("name", ["../evil.onnx", "/etc/evil.onnx", "a/../../evil.onnx", "a\\..\\evil.onnx"])
def test_paths_that_leave_the_folder_are_refused(web, tmp_path, name):
    put_hub(web, "Org/net", {name: b"x"})
    refused = pull("Org/net", "--repository", tmp_path / "r", "--mirror", web.url, code=1)
    assert "would leave the model's folder" in refused.stderr
    assert not (tmp_path / "r").exists()


def test_several_models_want_a_choice(web, tmp_path):
    put_hub(web, "Org/net", {"onnx/a.onnx": b"a", "onnx/b.onnx": b"b", "README.md": b""})
    args = ["Org/net", "--repository", tmp_path, "--mirror", web.url]
    assert "--file: onnx/a.onnx, onnx/b.onnx" in pull(*args, code=1).stderr
    pull(*args, "--file", "onnx/b.onnx")
    assert (tmp_path / "net/1/b.onnx").read_bytes() == b"b"


def test_a_killed_pull_leaves_nothing_to_serve_and_is_gone_on_with(web, tmp_path):
    data = web.files["/m.onnx"] = os.urandom(1 << 20)
    held = threading.Event()
    web.plan["/m.onnx"] = [{"hold": held}]
    command = [binary(), "pull", web.url + "/m.onnx", "--repository", tmp_path, "--sha256", sha256(data)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(p.stat().st_size == SLOW_PIECE for p in tmp_path.rglob("*.part")), what="the first piece")
        second = pull(*command[2:], code=1)
        assert "another pull" in second.stderr
    finally:
        process.kill()
        process.wait()
        held.set()
    assert all(name.startswith(".") for name in versions(tmp_path / "m"))
    told = json.loads(pull(*command[2:], "--json").stdout)
    assert told["fetched"] == len(data) - SLOW_PIECE and (tmp_path / "m/1/m.onnx").read_bytes() == data
    assert versions(tmp_path / "m") == ["1"]


def test_a_full_disk_is_told_and_gone_on_with(web, tmp_path):
    """Files cannot grow beyond a megabyte, and the writer is told so by an error, as on a disk that is full."""
    data = web.files["/m.onnx"] = os.urandom(2 << 20)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        done = pull(web.url + "/m.onnx", "--repository", tmp_path, code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "no room for" in done.stderr and "make room and pull again" in done.stderr
    assert all(name.startswith(".") for name in versions(tmp_path / "m"))
    told = json.loads(pull(web.url + "/m.onnx", "--repository", tmp_path, "--json").stdout)
    assert told["fetched"] == len(data) - (1 << 20) and (tmp_path / "m/1/m.onnx").read_bytes() == data


def test_a_catalogue_and_its_mirror(web, models, tmp_path):
    data = put_model(web, models, "/path/m.onnx")
    catalog = tmp_path / "catalog.json"
    file = {"url": "https://not.there.invalid/path/m.onnx", "to": "model.onnx", "bytes": len(data), "sha256": sha256(data)}
    catalog.write_text(json.dumps({"models": {"net": {"about": "a net", "files": [file]}}}))
    assert "a net" in pull("--list", "--catalog", catalog).stdout
    pull("net", "--repository", tmp_path / "r", "--catalog", catalog, "--mirror", web.url)
    assert (tmp_path / "r/net/1/model.onnx").read_bytes() == data
    assert "did you mean net?" in pull("nett", "--repository", tmp_path, "--catalog", catalog, code=1).stderr


def test_magika_of_its_package_is_pulled_and_served(tmp_path):
    """By pip, from the index that it is configured for."""
    pull("magika", "--repository", tmp_path)
    assert (tmp_path / "magika/1/model.onnx").read_bytes() == magika().read_bytes()
    with Server(tmp_path / "s", "--model_name", "m", "--model_path", tmp_path / "magika", "--target_device", "CPU") as server:
        body = {"instances": [np.full(2048, 256).tolist()]}
        assert server.http("POST", "/v1/models/m:predict", json.dumps(body)).code == 200


def test_the_command_line(tmp_path):
    assert "resnet-50-tf" in pull("--list").stdout and "--repository DIR" in pull("--help").stdout
    assert "expected a model" in pull(code=64).stderr
    assert "--repository is missing" in pull("magika", code=64).stderr
    assert "not known here" in pull("magika", "--repo", "x", code=64).stderr
    assert "--sha256: expected 64" in pull("http://h/m.onnx", "--repository", "x", "--sha256", "12", code=64).stderr
    assert "expected the URL of" in pull("http://h/m.zip", "--repository", tmp_path, code=1).stderr
