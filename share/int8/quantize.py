"""Makes an INT8 model of an OpenVINO IR by NNCF's post-training quantization, and measures what that costs in accuracy.

`switchyard convert --precision INT8` runs this in an environment of its own; by hand:

    python quantize.py --model model.xml --output int8/model.xml --result result.json [--calibration [INPUT=]FILE_OR_FOLDER]...
                       [--labels FILE] [--samples N]

Calibration files are .npy arrays of what clients send, one batch or several along the first dimension. Without any, random ones
are made up: ranges are then guessed, and the result says so. The last eighth of the samples, at least one, is not calibrated
with: on it the two models are compared. With --labels (.npy, the class of each sample) the accuracy of both is measured.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import openvino as ov


def progress(text):
    print(f"progress: {text}", file=sys.stderr, flush=True)


def batch_shape(port):
    """The shape of one sample: what is open is 1 for the batch, and 64 or the nearest size that is allowed."""
    shape = []
    for place, dim in enumerate(port.get_partial_shape()):
        if dim.is_static:
            shape.append(dim.get_length())
            continue
        wanted = 1 if place == 0 else 64
        most = dim.get_max_length()
        shape.append(max(dim.get_min_length(), wanted if most < 0 else min(wanted, most), 1))
    return shape


def split(array, port, path):
    """The samples in an array: batches of the model's size along the first dimension."""
    dims = list(port.get_partial_shape())
    name = port.get_any_name()
    if array.ndim == len(dims) - 1:
        array = array[np.newaxis]
    fits = [dim.is_dynamic or dim.get_length() == size for dim, size in zip(dims, array.shape)]
    if array.ndim != len(dims) or not all(fits[1:]):
        raise SystemExit(f"{path}: expected samples for input {name!r} of shape {port.get_partial_shape()}, got {array.shape}")
    batch = dims[0].get_length() if dims and dims[0].is_static else 1
    whole = len(array) // batch * batch if batch else 0
    if whole == 0:
        raise SystemExit(f"{path}: expected at least {batch} samples along the first dimension, got {len(array)}")
    return [np.ascontiguousarray(part, port.get_element_type().to_dtype()) for part in np.split(array[:whole], whole // batch)]


def read_calibration(model, specs, most):
    """One dict of inputs for each sample."""
    files = {}
    names = [port.get_any_name() for port in model.inputs]
    for spec in specs:
        name, path = spec.split("=", 1) if "=" in spec and spec.split("=", 1)[0] in names else (None, spec)
        if name is None and len(names) > 1:
            raise SystemExit(f"{spec}: the model has the inputs {', '.join(names)}: write INPUT=FILE")
        path = pathlib.Path(path)
        found = sorted(path.glob("*.npy")) if path.is_dir() else [path]
        if not found:
            raise SystemExit(f"{path}: expected .npy files, and there are none")
        files.setdefault(name or names[0], []).extend(found)
    missing = [name for name in names if name not in files]
    if missing:
        raise SystemExit(f"no calibration file for the inputs {', '.join(missing)}")
    samples = {}
    for port in model.inputs:
        name = port.get_any_name()
        samples[name] = []
        for path in files[name]:
            try:
                array = np.load(path, allow_pickle=False)
            except (OSError, ValueError) as error:
                raise SystemExit(f"{path}: expected a .npy file: {error}") from None
            samples[name].extend(split(array, port, path))
    count = min(min(len(part) for part in samples.values()), most)
    return [{name: part[i] for name, part in samples.items()} for i in range(count)]


def make_up(model, count):
    random = np.random.default_rng(1)
    samples = []
    for _ in range(count):
        sample = {}
        for port in model.inputs:
            shape, kind = batch_shape(port), port.get_element_type().to_dtype()
            if np.issubdtype(kind, np.floating):
                sample[port.get_any_name()] = random.standard_normal(shape).astype(kind)
            else:
                sample[port.get_any_name()] = random.integers(0, 256 if kind == np.uint8 else 10, shape).astype(kind)
        samples.append(sample)
    return samples


def scores(output):
    """Does this look like one score for each class?"""
    return output.ndim == 2 and output.shape[1] > 1


def compare(source, made, samples, labels):
    """How far the answers are apart."""
    compiled = [ov.Core().compile_model(model, "CPU") for model in (source, made)]
    found = {"samples": len(samples), "largest_difference": 0.0, "largest_value": 0.0, "mean_difference": 0.0}
    agree, right, seen, total = 0, [0, 0], 0, 0
    for sample, label in zip(samples, labels or [None] * len(samples)):
        answers = [[np.asarray(value) for value in one(sample).values()] for one in compiled]
        for wanted, got in zip(*answers):
            apart = np.abs(wanted.astype(np.float64) - got.astype(np.float64))
            found["largest_difference"] = max(found["largest_difference"], float(apart.max(initial=0)))
            found["largest_value"] = max(found["largest_value"], float(np.abs(wanted).max(initial=0)))
            found["mean_difference"] += float(apart.sum())
            total += apart.size
        wanted, got = answers[0][0], answers[1][0]
        if scores(wanted):
            seen += len(wanted)
            agree += int((wanted.argmax(1) == got.argmax(1)).sum())
            if label is not None:
                for i, answer in enumerate((wanted, got)):
                    right[i] += int((answer.argmax(1) == label).sum())
    found["mean_difference"] /= max(total, 1)
    if seen:
        found["top1_agreement"] = agree / seen
        if labels is not None:
            found["accuracy_fp32"], found["accuracy_int8"] = (count / seen for count in right)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--result", required=True)
    parser.add_argument("--calibration", action="append", default=[])
    parser.add_argument("--labels")
    parser.add_argument("--samples", type=int, default=300)
    args = parser.parse_args()
    source = ov.Core().read_model(args.model)
    if args.calibration:
        samples = read_calibration(source, args.calibration, args.samples)
    else:
        samples = make_up(source, min(args.samples, 64))
    labels = None
    if args.labels:
        batch = next(iter(samples[0].values())).shape[0]
        flat = np.load(args.labels, allow_pickle=False).reshape(-1)
        if len(flat) < len(samples) * batch:
            raise SystemExit(f"{args.labels}: expected a class for each of {len(samples) * batch} samples, got {len(flat)}")
        labels = [flat[i * batch : (i + 1) * batch] for i in range(len(samples))]
    held = max(1, len(samples) // 8)
    used = samples[:-held] or samples
    progress(f"calibrating with {len(used)} samples")
    import nncf

    made = nncf.quantize(source, nncf.Dataset(used), subset_size=len(used))
    ov.save_model(made, args.output, compress_to_fp16=False)
    progress(f"comparing with FP32 on {held} samples")
    result = compare(source, ov.Core().read_model(args.output), samples[-held:], labels and labels[-held:])
    result["calibrated_with"] = len(used)
    result["made_up"] = not args.calibration
    result["int8_layers"] = sum("FakeQuantize" == node.get_type_name() for node in made.get_ops())
    pathlib.Path(args.result).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
