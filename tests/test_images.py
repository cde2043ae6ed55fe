"""JPEG and PNG in place of pixels, through every front end; what comes of them is compared with OpenCV's."""

import base64
import concurrent.futures
import json
import struct
import subprocess
import zlib

import cv2
import numpy as np
import openvino as ov
import ovmsclient
import pytest
import tritonclient.grpc
import tritonclient.http

from clients import FRONT_ENDS, Outcome, Tensor, TfsRest
from conftest import write_config
from harness import Server, http_call
from testing.models import ir

MAX_PIXELS = 4_000_000

# Name: element type, shape, layout for the config. Each gives back what it was given.
MODELS = {
    "fixed": (ov.Type.u8, (-1, 48, 64, 3), None),
    "declared": (ov.Type.f32, (1, 48, 64, 3), "NHWC"),
    "open": (ov.Type.u8, (-1, -1, -1, 3), None),
    "ranged": (ov.Type.u8, (1, ov.Dimension(16, 64), ov.Dimension(16, 64), 3), None),
    "anything": (ov.Type.u8, (1, -1, -1, -1), None),
    "gray": (ov.Type.f32, (1, 24, 24, 1), None),
    "planes": (ov.Type.u8, (1, 3, 48, 64), "NCHW"),
    "whole": (ov.Type.i64, (1, 48, 64, 3), None),
}
TYPES = {
    "fp16": (ov.Type.f16, np.float16),
    "fp32": (ov.Type.f32, np.float32),
    "fp64": (ov.Type.f64, np.float64),
    "uint8": (ov.Type.u8, np.uint8),
    "int16": (ov.Type.i16, np.int16),
    "uint16": (ov.Type.u16, np.uint16),
    "int32": (ov.Type.i32, np.int32),
}
# FP32 (1,48,64,3) plus one, with settings of what is done to the input.
SET_UP = {
    "rgb_throughout": {"layout": "NHWC:NHWC", "color_format": "RGB:RGB"},
    "rgb_to_bgr": {"layout": "NHWC:NHWC", "color_format": "BGR:RGB"},
    "bgr_to_rgb": {"layout": "NHWC:NHWC", "color_format": "RGB:BGR"},
    "bytes_to_floats": {"layout": "NHWC:NHWC", "precision": "UINT8:FP32", "scale": "2"},
    "any_batch": {"batch_size": "auto"},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A server with the models of this file."""
    folder = tmp_path_factory.mktemp("images")
    entries = []
    models = {**MODELS, **{f"as_{name}": (kind, (-1, 40, 30, 3), None) for name, (kind, _) in TYPES.items()}}
    for name, (kind, shape, layout) in models.items():
        version = folder / name / "1"
        version.mkdir(parents=True)
        ir.passthrough(version, kind, shape, "image")
        entries.append({"name": name, "base_path": str(folder / name), "target_device": "CPU"})
        if layout:
            entries[-1]["layout"] = layout
    # Takes planes, and has OpenVINO turn what clients send.
    version = folder / "turned" / "1"
    version.mkdir(parents=True)
    ir.plus_one(version, (1, 3, 48, 64), source="image", target="sum")
    entries.append({"name": "turned", "base_path": str(folder / "turned"), "target_device": "CPU", "layout": "NHWC:NCHW"})
    for name, settings in SET_UP.items():
        version = folder / name / "1"
        version.mkdir(parents=True)
        ir.plus_one(version, (1, 48, 64, 3), source="image", target="sum")
        entries.append({"name": name, "base_path": str(folder / name), "target_device": "CPU", **settings})
    config = write_config(folder / "config.json", entries)
    with Server(folder, "--config_path", config, "--max_image_pixels", MAX_PIXELS) as running:
        yield running


def infer(front_end, model, pictures):
    """One request with encoded pictures, in the form that this front end has for bytes. Gives the output as an array."""
    if isinstance(front_end, TfsRest):
        coded = [{"b64": base64.b64encode(picture).decode()} for picture in pictures]
        body = {"inputs": {"image": coded}} if front_end.name == "tfs-rest-column" else {"instances": coded}
        answer = front_end.call("POST", front_end.path(model, "", ":predict"), json.dumps(body).encode())
        if answer.code != 200:
            return front_end.failed(answer), None
        return Outcome("200"), np.array(answer.json().get("outputs") or answer.json()["predictions"])
    if front_end.name == "kserve-rest-json":
        pictures = [base64.b64encode(picture) for picture in pictures]
    outcome = front_end.infer(model, [Tensor("image", "BYTES", (len(pictures),), list(pictures))])
    return outcome, next(iter(outcome.outputs.values())).data if outcome.ok else None


@pytest.fixture(scope="module", params=FRONT_ENDS, ids=lambda front_end: front_end.name)
def front_end(request, images):
    made = request.param(images)
    yield made
    made.close()


def photo(height, width, channels=3, seed=1):
    """Something smooth with edges in it."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (max(2, height // 9), max(2, width // 9), channels), np.uint8)
    picture = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)
    cv2.rectangle(picture, (width // 4, height // 4), (width // 2, height // 2), (255,) * channels, -1)
    return picture


def encode(picture, form=".jpg", *options):
    done, coded = cv2.imencode(form, picture, options)
    assert done
    return coded.tobytes()


def expected(coded, height=None, width=None, dtype=np.uint8):
    """OVMS's way: decoded as it is, converted, resized bilinearly."""
    picture = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_UNCHANGED)
    picture = picture.reshape(*picture.shape[:2], -1)
    wide = picture.astype(np.uint8 if dtype == np.uint8 else np.float32)
    if height is not None and picture.shape[:2] != (height, width):
        wide = cv2.resize(wide, (width, height), interpolation=cv2.INTER_LINEAR)
    return wide.reshape(*wide.shape[:2], -1).astype(np.float64)


def assert_close(found, wanted):
    found = np.asarray(found, np.float64)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).mean() < 1


def assert_fault(outcome, *texts):
    assert outcome.code in ("INVALID_ARGUMENT", "400"), (outcome.code, outcome.message)
    for text in texts:
        assert text in outcome.message


def test_a_batch_through_every_front_end(front_end):
    coded = [encode(photo(48, 64)), encode(photo(120, 90, seed=2), ".png"), encode(photo(20, 30, seed=3))]
    outcome, found = infer(front_end, "fixed", coded)
    assert outcome.ok, outcome.message
    assert_close(found, np.stack([expected(one, 48, 64) for one in coded]))


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("size", [(40, 30), (97, 133), (13, 11)], ids=str)
def test_every_element_type(images, name, size):
    kserve = tritonclient.grpc.InferenceServerClient(images.grpc)
    coded = encode(photo(*size), ".png")
    given = tritonclient.grpc.InferInput("image", [1], "BYTES")
    given.set_data_from_numpy(np.array([coded], object))
    found = kserve.infer(f"as_{name}", [given]).as_numpy("image")
    assert found.dtype == TYPES[name][1]
    assert_close(found[0], expected(coded, 40, 30, TYPES[name][1]))
    kserve.close()


def test_layouts(front_end):
    coded = encode(photo(100, 100), ".png")
    outcome, found = infer(front_end, "declared", [coded])
    assert outcome.ok, outcome.message
    assert_close(found, expected(coded, 48, 64)[None])
    outcome, found = infer(front_end, "turned", [coded])
    assert outcome.ok, outcome.message
    assert_close(found, expected(coded, 48, 64).transpose(2, 0, 1)[None] + 1)
    outcome, _ = infer(front_end, "planes", [coded])
    assert_fault(outcome, "not configured to accept NHWC", "--layout NHWC:NCHW")


def test_open_and_ranged_sizes(front_end):
    coded = [encode(photo(33, 57, seed=seed), ".png") for seed in (1, 2)]
    outcome, found = infer(front_end, "open", coded)
    assert outcome.ok, outcome.message
    assert np.array_equal(found, np.stack([expected(one) for one in coded]))
    outcome, _ = infer(front_end, "open", [coded[0], encode(photo(57, 33), ".png")])
    assert_fault(outcome, "same resolution", "image: 1", "input name: image")
    for size, nearest in (((33, 57), (33, 57)), ((8, 100), (16, 64)), ((500, 20), (64, 20))):
        one = encode(photo(*size), ".png")
        outcome, found = infer(front_end, "ranged", [one])
        assert outcome.ok, outcome.message
        assert_close(found[0], expected(one, *nearest))


def test_grayscale(front_end):
    for form in (".jpg", ".png"):
        coded = encode(photo(50, 40, 1), form)
        outcome, found = infer(front_end, "gray", [coded])
        assert outcome.ok, outcome.message
        assert_close(found[0], expected(coded, 24, 24))
    outcome, _ = infer(front_end, "fixed", [encode(photo(48, 64, 1))])
    assert_fault(outcome, "number of channels", "Expected: 3; Actual: 1")
    outcome, _ = infer(front_end, "gray", [encode(photo(24, 24))])
    assert_fault(outcome, "number of channels", "Expected: 1; Actual: 3")


def test_settings_of_the_input(front_end):
    """Pictures come as what the settings say that clients send: BGR unless that is RGB."""
    coded = encode(photo(70, 50), ".png")
    bgr = expected(coded, 48, 64)
    wanted = {
        "rgb_throughout": bgr[:, :, ::-1] + 1,
        "rgb_to_bgr": bgr + 1,
        "bgr_to_rgb": bgr[:, :, ::-1] + 1,
        "bytes_to_floats": bgr / 2 + 1,
    }
    for name, values in wanted.items():
        outcome, found = infer(front_end, name, [coded])
        assert outcome.ok, (name, outcome.message)
        assert_close(found[0], values)
    outcome, found = infer(front_end, "any_batch", [coded, GOOD, coded])
    assert outcome.ok, outcome.message
    assert_close(found, np.stack([bgr, expected(GOOD, 48, 64), bgr]) + 1)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color, data, *more):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def with_exif(jpeg):
    """Says that the picture lies on its side, which OVMS does not look at."""
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHH", 1, 0x0112, 3, 1, 6, 0) + b"\0\0\0\0"
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\0\0" + tiff + jpeg[2:]


RARE = {
    "progressive": encode(photo(30, 20), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "exif": with_exif(encode(photo(30, 20))),
    "alpha": encode(photo(30, 20, 4), ".png"),
    "gray_16": encode(photo(30, 20, 1), ".png"),
    "palette": png(2, 2, 8, 3, b"\0\0\1\0\1\0", chunk(b"PLTE", bytes([1, 2, 3, 200, 100, 50]))),
    "palette_alpha": png(2, 2, 8, 3, b"\0\0\1\0\1\0", chunk(b"PLTE", bytes([1, 2, 3, 200, 100, 50])), chunk(b"tRNS", b"\x80")),
    "one_bit": png(8, 1, 1, 0, b"\0\xaa"),
    "gray_alpha": png(1, 1, 8, 4, b"\0\x10\x20"),
}


@pytest.mark.parametrize("name", RARE)
def test_rare_forms_are_what_opencv_makes_of_them(images, name):
    front = next(kind for kind in FRONT_ENDS if kind.name == "kserve-grpc-raw")(images)
    outcome, found = infer(front, "anything", [RARE[name]])
    assert outcome.ok, outcome.message
    wanted = expected(RARE[name])
    assert found[0].shape == wanted.shape and np.abs(found[0] - wanted).max() <= 2
    front.close()


def test_sixteen_bits(images):
    front = next(kind for kind in FRONT_ENDS if kind.name == "kserve-grpc-raw")(images)
    deep = np.random.default_rng(3).integers(0, 65536, (40, 30, 3), np.uint16)
    coded = encode(deep, ".png")
    _, found = infer(front, "as_uint16", [coded])
    assert np.array_equal(found[0], deep)
    _, found = infer(front, "as_fp32", [coded])
    assert np.array_equal(found[0], deep)
    _, found = infer(front, "as_uint8", [coded])
    assert np.array_equal(found[0], deep >> 8)
    front.close()


GOOD = encode(photo(48, 64))
NOISE = encode(np.random.default_rng(5).integers(0, 256, (48, 64, 3), np.uint8), ".png")
HOSTILE = {
    "empty": (b"", "contents is empty"),
    "no_picture": (b"GIF89a" + bytes(100), "Image parsing failed"),
    "jpeg_start_alone": (b"\xff\xd8\xff", "Image parsing failed"),
    "png_start_alone": (b"\x89PNG\r\n\x1a\n", "Image parsing failed"),
    "jpeg_cut": (GOOD[: len(GOOD) // 2], "Image parsing failed"),
    "png_cut": (NOISE[: len(NOISE) // 2], "Image parsing failed"),
    "png_damaged": (NOISE[:200] + b"\0\0\0\0" + NOISE[204:], "Image parsing failed"),
    "png_without_pixels": (png(64, 48, 8, 2, b""), "Image parsing failed"),
    "png_bomb": (png(60000, 60000, 8, 2, bytes(1000)), "--max_image_pixels"),
    "png_beyond": (png(2**31 - 1, 2**31 - 1, 16, 6, b""), "--max_image_pixels"),
    "png_of_nothing": (png(0, 0, 8, 2, b""), "Image parsing failed"),
    "jpeg_bomb": (GOOD.replace(struct.pack(">HH", 48, 64), b"\xff\xdc\xff\xdc", 1), "--max_image_pixels"),
    "no_base64": (b"/9j/" + b"*" * 10, "Image parsing failed"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pictures_are_the_callers_fault(front_end, name):
    picture, text = HOSTILE[name]
    outcome, _ = infer(front_end, "fixed", [GOOD, picture])
    assert_fault(outcome, text, "image: 1", "input name: image")
    assert infer(front_end, "fixed", [GOOD])[0].ok


def test_faults_of_the_request(front_end):
    assert_fault(infer(front_end, "declared", [GOOD, GOOD])[0], "Invalid input batch size - Expected: 1; Actual: 2")
    assert_fault(infer(front_end, "whole", [GOOD])[0], "Invalid input precision")
    if isinstance(front_end, TfsRest):
        return
    matrix = Tensor("image", "BYTES", (1, 1), [base64.b64encode(GOOD)])
    assert_fault(front_end.infer("fixed", [matrix]), "binary input shape dimensions: 1")


def test_many_large_pictures_and_small_calls_at_once(images, front_end):
    """Large ones are decoded beside the listeners' threads, in parallel, and each answer is its own."""
    large = [encode(photo(900 + 10 * i, 1100, seed=i), ".jpg") for i in range(6)]
    wanted = [expected(one, 48, 64) for one in large]

    def one(index):
        if index % 3 == 0:
            outcome, found = infer(front_end, "fixed", [large[index % 6], GOOD, large[(index + 1) % 6]])
            assert outcome.ok, outcome.message
            assert_close(found, np.stack([wanted[index % 6], expected(GOOD, 48, 64), wanted[(index + 1) % 6]]))
        else:
            outcome, found = infer(front_end, "fixed", [GOOD])
            assert outcome.ok, outcome.message
            assert_close(found[0], expected(GOOD, 48, 64))

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(one, range(18)))


@pytest.mark.parametrize("flavour", ["grpc", "http"])
def test_tritonclient(images, flavour):
    module = getattr(tritonclient, flavour)
    client = module.InferenceServerClient(getattr(images, "grpc" if flavour == "grpc" else "rest"))
    coded = [encode(photo(70, 80, seed=seed)) for seed in (4, 5)]
    given = module.InferInput("image", [2], "BYTES")
    given.set_data_from_numpy(np.array(coded, object))
    found = client.infer("fixed", [given]).as_numpy("image")
    assert_close(found, np.stack([expected(one, 48, 64) for one in coded]))
    client.close()


@pytest.mark.parametrize("flavour", ["grpc", "http"])
def test_ovmsclient(images, flavour):
    client = ovmsclient.make_grpc_client(images.grpc) if flavour == "grpc" else ovmsclient.make_http_client(images.rest)
    coded = encode(photo(70, 80))
    assert_close(client.predict({"image": coded}, "fixed"), expected(coded, 48, 64)[None])
    both = client.predict({"image": [coded, GOOD]}, "fixed")
    assert_close(both, np.stack([expected(coded, 48, 64), expected(GOOD, 48, 64)]))


def test_curl(images, tmp_path):
    """A manual's commands: the length in four bytes before the picture, and the rest of the body for one picture."""
    head = json.dumps({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES"}]}).encode()
    (tmp_path / "request").write_bytes(head + struct.pack("<I", len(GOOD)) + GOOD)
    url = f"http://{images.rest}/v2/models/fixed/infer"
    done = subprocess.run(
        ["curl", "-sS", "--data-binary", f"@{tmp_path}/request", "-H", f"Inference-Header-Content-Length: {len(head)}", url],
        capture_output=True,
        timeout=30,
        check=True,
    )
    output = json.loads(done.stdout)["outputs"][0]
    assert output["shape"] == [1, 48, 64, 3]
    assert_close(np.array(output["data"]).reshape(48, 64, 3), expected(GOOD))


def test_too_much_together(images):
    """Pictures of an allowed size whose tensor would be enormous: refused by their headers."""
    blank = png(2000, 2000, 8, 2, bytes(2000 * 6001))
    front = next(kind for kind in FRONT_ENDS if kind.name == "kserve-grpc-raw")(images)
    assert_fault(infer(front, "open", [blank] * 100)[0], "too large together")
    front.close()
    assert http_call(images.rest, "GET", "/v2/health/live").code == 200
