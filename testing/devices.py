"""Devices for machines that have none: environments in which OpenVINO finds a GPU or an NPU, and faults for them.

    faults = Faults(tmp_path / "faults")
    env = {**gpu_env(count=2, fault_file=faults.path), **npu_env(fault_file=faults.path)}
    ... start a program with `env` and with a working directory of its own ...
    faults.set("hang@1")
    faults.clear()

README.md beside this file tells what the devices do and what they don't.
"""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
INTEL_ICD = "/etc/OpenCL/vendors/intel.icd"

# What makes Intel's OpenCL driver believe in a device: its product family, its size in slices x sub-slices x units, its PCI id.
GPU_KINDS = {
    "dg2": ("1x4x8", "0x56a0"),  # discrete: an Arc A770
    "tgllp": ("1x6x16", "0x9a49"),  # integrated: a Tiger Lake's
    "adls": ("1x2x16", "0x4680"),  # integrated: an Alder Lake's
}


def _library(name) -> pathlib.Path:
    """A simulator of the build that the binary under test comes from."""
    binary = ROOT / os.environ.get("SWITCHYARD_BINARY", "build/release/switchyard")
    path = binary.parent / "testing" / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: build it with scripts/build {binary.parent.name} simulators")
    return path


def gpu_env(count=1, kind="dg2", fault_file=None) -> dict:
    """The variables with which a program finds `count` GPUs, whose outputs are zeros. A working directory of its own keeps the
    driver's kernel.errors.txt out of the checkout."""
    size, pci_id = GPU_KINDS[kind]
    env = {
        "NEOReadDebugKeys": "1",
        "SetCommandStreamReceiver": "1",  # record the commands instead of sending them to a device,
        "AUBDumpCaptureFileName": "/dev/null",  # and forget them: it is hundreds of megabytes
        "ProductFamilyOverride": kind,
        "HardwareInfoOverride": size,
        "ForceDeviceId": pci_id,
        "CreateMultipleRootDevices": str(count),
    }
    if os.path.exists(INTEL_ICD):
        env["OCL_ICD_VENDORS"] = INTEL_ICD  # no other driver that this machine may have
    if fault_file is not None:
        env["OPENCL_LAYERS"] = str(_library("opencl_faults/libopencl_faults.so"))
        env["OPENCL_FAULTS_FILE"] = str(fault_file)
    return env


def npu_env(fault_file=None, **knobs) -> dict:
    """The variables with which a program finds an NPU that computes on the CPU. `knobs` are the simulator's, in lower case and
    without NPUSIM_: npu_env(delay_ms=50, unsupported_ops="Softmax")."""
    folders = [str(_library("npusim/lib/libze_loader.so.1").parent)]
    if os.environ.get("LD_LIBRARY_PATH"):
        folders.append(os.environ["LD_LIBRARY_PATH"])
    env = {"LD_LIBRARY_PATH": ":".join(folders)}
    env.update({f"NPUSIM_{name.upper()}": str(value) for name, value in knobs.items()})
    if fault_file is not None:
        env["NPUSIM_FAIL_FILE"] = str(fault_file)
    return env


class Faults:
    """The file that tells simulated devices how to fail. A change holds from the next call that it may strike."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.clear()

    def set(self, *faults):
        """Exactly these stand from now on, for example set("out_of_memory@1", "once_in:3")."""
        written = self.path.with_name(self.path.name + ".new")
        written.write_text(",".join(faults) + "\n")
        os.replace(written, self.path)  # nobody reads half of it

    def clear(self):
        self.set()
