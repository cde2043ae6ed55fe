#include "device/doctor.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>

#include "device/test_root.h"

namespace switchyard {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kLibraries = "/usr/lib/x86_64-linux-gnu/";
constexpr const char* kGpuAddress = "/sys/bus/pci/devices/0000:00:02.0/";
constexpr const char* kNpuAddress = "/sys/bus/pci/devices/0000:00:0b.0/";

class DoctorTest : public ::testing::Test {
 protected:
  // Each adds one more thing that a working GPU needs, in the order of the causes.
  void AddGpuOnBus(const std::string& driver = "i915", const std::string& device = "0x56a0") {
    const std::string folder = kGpuAddress;
    root_.File(folder + "vendor", "0x8086\n").File(folder + "device", device + "\n").File(folder + "class", "0x030000\n");
    if (!driver.empty()) root_.Link(folder + "driver", "../../../bus/pci/drivers/" + driver);
  }
  void AddRenderNode(int number = 128, const std::string& vendor = "0x8086", const std::string& device = "0x56a0") {
    const std::string name = fmt::format("renderD{}", number);
    root_.Node("/dev/dri/" + name);
    root_.File("/sys/class/drm/" + name + "/device/vendor", vendor + "\n");
    root_.File("/sys/class/drm/" + name + "/device/device", device + "\n");
  }
  void AddLoader() { root_.File(std::string(kLibraries) + "libOpenCL.so.1"); }
  void AddIcd() {
    root_.File("/etc/OpenCL/vendors/intel.icd", std::string(kLibraries) + "intel-opencl/libigdrcl.so\n");
    root_.File(std::string(kLibraries) + "intel-opencl/libigdrcl.so");
  }
  void AddWholeGpu(const std::string& device = "0x56a0") {
    AddGpuOnBus("i915", device);
    AddRenderNode(128, "0x8086", device);
    AddLoader();
    AddIcd();
  }
  void AddDriverPackage(const std::string& version, const std::string& package = "intel-opencl-icd") {
    root_.File("/var/lib/dpkg/status", "Package: bash\nStatus: install ok installed\nVersion: 5.2\n\nPackage: " + package +
                                           "\nStatus: install ok installed\nVersion: " + version + "\n\n");
  }

  void AddNpuOnBus(const std::string& driver = "intel_vpu") {
    const std::string folder = kNpuAddress;
    root_.File(folder + "vendor", "0x8086\n").File(folder + "device", "0x7d1d\n").File(folder + "class", "0x120000\n");
    if (!driver.empty()) root_.Link(folder + "driver", "../../../bus/pci/drivers/" + driver);
  }
  void AddLevelZero(const std::string& version = "1.20.6", const std::string& bytes = "..zeCommandListHostSynchronize..") {
    root_.File(std::string(kLibraries) + "libze_loader.so." + version, bytes);
    root_.Link(std::string(kLibraries) + "libze_loader.so.1", "libze_loader.so." + version);
  }
  void AddNpuDriver() { root_.File(std::string(kLibraries) + "libze_intel_npu.so.1"); }
  void AddNpuCompiler() { root_.File(std::string(kLibraries) + "libnpu_driver_compiler.so"); }
  void AddDocker() { root_.File("/.dockerenv"); }

  std::string Gpu() { return Shown(WhyAbsent(DeviceKind::kGpu, root_.View())); }
  std::string Npu() { return Shown(WhyAbsent(DeviceKind::kNpu, root_.View())); }
  static std::string Shown(const std::optional<Absence>& absence) {
    return absence ? absence->reason + "; " + absence->remedy : "nothing is missing";
  }

  TestRoot root_;
};

TEST_F(DoctorTest, NothingIsMissing) {
  AddWholeGpu();
  EXPECT_EQ(Gpu(), "nothing is missing");
  AddNpuOnBus();
  root_.Node("/dev/accel/accel0");
  AddLevelZero();
  AddNpuDriver();
  AddNpuCompiler();
  EXPECT_EQ(Npu(), "nothing is missing");
}

TEST_F(DoctorTest, GpuNotOnTheBus) {
  root_.Folder("/sys/bus/pci/devices");
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("no Intel GPU on the PCI bus"), Not(HasSubstr("docker"))));
}

TEST_F(DoctorTest, GpuWithoutAKernelDriver) {
  AddGpuOnBus("");
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("the kernel has no driver for the GPU 8086:56a0 at 0000:00:02.0"),
                           HasSubstr("sudo modprobe i915")));
}

TEST_F(DoctorTest, GpuWithADriverAndNoNode) {
  AddGpuOnBus("xe");
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("no /dev/dri/renderD*, though driver xe has the GPU"), HasSubstr("udevadm trigger")));
}

TEST_F(DoctorTest, GpuGivenToVirtualMachines) {
  AddGpuOnBus("vfio-pci");
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("given away to virtual machines"), HasSubstr("vfio-pci/unbind")));
}

TEST_F(DoctorTest, NpuGivenToVirtualMachines) {
  AddNpuOnBus("vfio-pci");
  EXPECT_THAT(Npu(), AllOf(HasSubstr("the NPU"), HasSubstr("given away to virtual machines (driver vfio-pci)"),
                           HasSubstr("vfio-pci/unbind"), HasSubstr("drivers/intel_vpu/bind"), Not(HasSubstr("dmesg"))));
}

TEST_F(DoctorTest, ContainerWithoutTheDevice) {
  AddGpuOnBus();
  AddDocker();
  EXPECT_THAT(Gpu(),
              AllOf(HasSubstr("in this container, though the host has the GPU 8086:56a0"),
                    HasSubstr("docker run --device /dev/dri --group-add=$(stat -c \"%g\" /dev/dri/render* | head -n 1)")));
  AddNpuOnBus();
  EXPECT_THAT(Npu(), AllOf(HasSubstr("no /dev/accel/accel* in this container"), HasSubstr("docker run --device /dev/accel ")));
}

TEST_F(DoctorTest, ContainerOnAHostWithoutTheDevice) {
  root_.Folder("/sys/bus/pci/devices");
  AddDocker();
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("shows no Intel GPU either"), HasSubstr("on a host with an Intel GPU, "),
                           HasSubstr("docker run --device /dev/dri")));
}

TEST_F(DoctorTest, OtherContainerEngines) {
  root_.File("/run/.containerenv");
  EXPECT_THAT(Gpu(), HasSubstr("podman run --device /dev/dri"));
  root_.File("/proc/self/cgroup", "0::/kubepods.slice/pod1\n");
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("limits: {gpu.intel.com/i915: 1}"), Not(HasSubstr("podman"))));
}

TEST_F(DoctorTest, OnlyAnotherMakersGpu) {
  root_.Folder("/sys/bus/pci/devices");
  AddRenderNode(128, "0x10de");
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("no Intel GPU on the PCI bus"), HasSubstr("/dev/dri/renderD128 (vendor 10de)")));
}

TEST_F(DoctorTest, UserNotInTheGroup) {
  AddWholeGpu();
  const SystemView view = root_.View(false);
  const gid_t group = root_.NodeGroup();
  root_.File("/etc/passwd", fmt::format("serve:x:{}:1::/:/bin/sh\n", view.user.uid));
  root_.File("/etc/group", fmt::format("video:x:{}:\nrender:x:{}:other\n", group + 7, group));
  EXPECT_EQ(Gpu(), "nothing is missing");
  // The root group is nobody's to join: a node that belongs to it has the wrong owner.
  const std::string expected = group == 0 ? "sudo chgrp render /dev/dri/renderD128 && sudo chmod g+rw /dev/dri/renderD128"
                                          : "sudo usermod -aG render serve";
  EXPECT_THAT(Shown(WhyAbsent(DeviceKind::kGpu, view)),
              AllOf(HasSubstr("/dev/dri/renderD128 is there"), HasSubstr(fmt::format("(uid {})", view.user.uid)),
                    HasSubstr(fmt::format("group {}", group)), HasSubstr(expected)));
}

// The numbers of a group are the machine's own: here a chosen one, which a test that runs as root may give to the node.
TEST_F(DoctorTest, UserNotInAGroupOfAnyName) {
  AddWholeGpu();
  if (chown(root_.path("/dev/dri/renderD128").c_str(), static_cast<uid_t>(-1), 993) != 0) GTEST_SKIP() << "needs root";
  SystemView view = root_.View(false);
  const auto said = [&] { return Shown(WhyAbsent(DeviceKind::kGpu, view)); };
  root_.File("/etc/passwd", fmt::format("serve:x:{}:1::/:/bin/sh\n", view.user.uid));
  EXPECT_THAT(said(), AllOf(HasSubstr("not in its group 993"), HasSubstr("group 993 has no name here"),
                            HasSubstr("sudo groupadd -g 993 device993 && sudo usermod -aG device993 serve")));
  root_.File("/etc/group", "render:x:993:\n");
  EXPECT_THAT(said(), HasSubstr("sudo usermod -aG render serve"));
  root_.File("/etc/group", "render:x:993:other,serve\n");
  EXPECT_THAT(said(), HasSubstr("log out and in again, or run `newgrp render`"));
  AddDocker();
  EXPECT_THAT(said(), HasSubstr("docker run --group-add 993 ..."));
  view.user.groups = {44, 993};
  EXPECT_EQ(said(), "nothing is missing");
}

TEST_F(DoctorTest, UserInAContainerNotInTheGroup) {
  AddWholeGpu();
  AddDocker();
  EXPECT_THAT(Shown(WhyAbsent(DeviceKind::kGpu, root_.View(false))),
              HasSubstr(fmt::format("docker run --group-add {} ...", root_.NodeGroup())));
  root_.File("/run/secrets/kubernetes.io/serviceaccount/token");
  EXPECT_THAT(Shown(WhyAbsent(DeviceKind::kGpu, root_.View(false))),
              HasSubstr(fmt::format("supplementalGroups: [{}]", root_.NodeGroup())));
}

TEST_F(DoctorTest, GroupWithoutTheRight) {
  AddWholeGpu();
  AddDocker();
  root_.Node("/dev/dri/renderD128", 0600);
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("its permissions (mode 600"), HasSubstr("on the host: sudo chgrp render")));
}

TEST_F(DoctorTest, NodeThatTheContainerMayNotUse) {
  AddWholeGpu();
  AddDocker();
  SystemView view = root_.View();
  view.open_node = [](const std::string&) { return EPERM; };
  EXPECT_THAT(Shown(WhyAbsent(DeviceKind::kGpu, view)),
              AllOf(HasSubstr("the container may not use it"), HasSubstr("docker run --device /dev/dri")));
}

TEST_F(DoctorTest, OneOpenNodeIsEnough) {
  AddWholeGpu();
  AddRenderNode(129);
  SystemView view = root_.View();
  view.open_node = [](const std::string& path) { return path.ends_with("128") ? EACCES : 0; };
  EXPECT_EQ(WhyAbsent(DeviceKind::kGpu, view), std::nullopt);
}

TEST_F(DoctorTest, NoOpenClLoader) {
  AddWholeGpu();
  std::filesystem::remove(root_.path(std::string(kLibraries) + "libOpenCL.so.1"));
  EXPECT_THAT(Gpu(),
              AllOf(HasSubstr("no OpenCL loader (libOpenCL.so.1)"), HasSubstr("sudo apt-get install ocl-icd-libopencl1")));
  root_.File("/etc/os-release", "NAME=Fedora\nID=fedora\n");
  EXPECT_THAT(Gpu(), HasSubstr("sudo dnf install ocl-icd"));
  // In a folder of the loader's own configuration.
  root_.File("/etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n").File("/etc/ld.so.conf.d/opt.conf", "# ours\n/opt/cl\n");
  root_.File("/opt/cl/libOpenCL.so.1");
  EXPECT_EQ(Gpu(), "nothing is missing");
}

TEST_F(DoctorTest, NoIcd) {
  AddGpuOnBus();
  AddRenderNode();
  AddLoader();
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("no OpenCL driver (ICD) for Intel GPUs in /etc/OpenCL/vendors"),
                           HasSubstr("sudo apt-get install intel-opencl-icd")));
  root_.File("/etc/OpenCL/vendors/pocl.icd", "libpocl.so.2\n");
  EXPECT_THAT(Gpu(), HasSubstr("only libpocl.so.2; "));
  AddDocker();
  EXPECT_THAT(Gpu(), HasSubstr("add to the image: apt-get install intel-opencl-icd"));
  AddIcd();
  EXPECT_EQ(Gpu(), "nothing is missing");
  std::filesystem::remove(root_.path(std::string(kLibraries) + "intel-opencl/libigdrcl.so"));
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("/etc/OpenCL/vendors/intel.icd names"), HasSubstr("which is not there")));
}

TEST_F(DoctorTest, DriverTooOld) {
  AddWholeGpu("0xe20b");
  AddDriverPackage("23.43.27642.40-1ubuntu3");
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("the GPU driver 23.43.27642.40-1ubuntu3 is most likely too old"),
                           HasSubstr("Battlemage, e20b"), HasSubstr("25.05.32567 or newer")));
  AddDriverPackage("25.05.32567.18-1");
  EXPECT_EQ(Gpu(), "nothing is missing");
}

TEST_F(DoctorTest, DriverTooOldByTheNameOfItsLevelZeroHalf) {
  AddWholeGpu("0x64a0");
  root_.File(std::string(kLibraries) + "libze_intel_gpu.so.1.3.27642");
  root_.Link(std::string(kLibraries) + "libze_intel_gpu.so.1", "libze_intel_gpu.so.1.3.27642");
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("the GPU driver 1.3.27642 is most likely too old"), HasSubstr("Lunar Lake, 64a0")));
}

TEST_F(DoctorTest, DriverTooNewForAnOldGpu) {
  AddWholeGpu("0x5916");
  AddDriverPackage("25.05.32567.18-1");
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("too new for this GPU (Kaby Lake, 5916)"), HasSubstr("intel-opencl-icd-legacy1")));
  AddDriverPackage("24.35.30872.22", "intel-opencl-icd-legacy1");
  EXPECT_EQ(Gpu(), "nothing is missing");
}

TEST_F(DoctorTest, EachOfTwoDriversForTheGpusThatItIsFor) {
  AddWholeGpu("0x5916");
  root_.File("/var/lib/dpkg/status",
             "Package: intel-opencl-icd-legacy1\nStatus: install ok installed\nVersion: 24.35.30872.22\n\n"
             "Package: intel-opencl-icd\nStatus: install ok installed\nVersion: 25.05.32567.18-1\n\n");
  EXPECT_EQ(Gpu(), "nothing is missing");
  AddRenderNode(129, "0x8086", "0xe20b");
  EXPECT_EQ(Gpu(), "nothing is missing");
}

TEST_F(DoctorTest, OneGpuThatTheDriverFitsIsEnough) {
  AddWholeGpu("0x5916");
  AddRenderNode(129, "0x8086", "0xe20b");
  AddDriverPackage("25.05.32567.18-1");
  EXPECT_EQ(Gpu(), "nothing is missing");
}

TEST_F(DoctorTest, ALegacyDriverAlone) {
  AddWholeGpu("0x4e61");
  AddDriverPackage("25.05.32567.18-1");
  EXPECT_THAT(Gpu(), HasSubstr("too new for this GPU (Jasper Lake, 4e61)"));
  AddDriverPackage("24.35.30872.22", "intel-opencl-icd-legacy1");
  EXPECT_EQ(Gpu(), "nothing is missing");
  AddRenderNode(128, "0x8086", "0x9a49");
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("24.35.30872.22 is too old for this GPU (9a49): it is the one for Gen8 to Gen11"),
                           HasSubstr("install intel-opencl-icd (")));
}

TEST_F(DoctorTest, KernelsThatMicrosoftBuiltForOthersAreNoWsl) {
  root_.File("/proc/version", "Linux version 6.1.0-1041-azure (builder@microsoft.com) SMP\n");
  EXPECT_THAT(Gpu(), Not(HasSubstr("WSL2")));
}

TEST_F(DoctorTest, InstallsAreNamedAsTheDistributionNamesThem) {
  AddWholeGpu();
  std::filesystem::remove(root_.path(std::string(kLibraries) + "libOpenCL.so.1"));
  const auto told = [&](const std::string& release) {
    root_.File("/etc/os-release", release);
    return Gpu();
  };
  EXPECT_THAT(told("ID=ubuntu\nID_LIKE=debian\n"), HasSubstr("sudo apt-get install ocl-icd-libopencl1"));
  EXPECT_THAT(told("ID=\"fedora\"\n"), HasSubstr("sudo dnf install ocl-icd"));
  EXPECT_THAT(told("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), HasSubstr("sudo dnf install ocl-icd"));
  EXPECT_THAT(told("ID=arch\n"), HasSubstr("sudo pacman -S ocl-icd"));
  EXPECT_THAT(told("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n"),
              HasSubstr("install what Debian calls ocl-icd-libopencl1 and Fedora ocl-icd"));
}

TEST_F(DoctorTest, Wsl) {
  root_.File("/proc/version", "Linux version 5.15.153.1-microsoft-standard-WSL2 (root@host)\n");
  root_.Folder("/usr/lib/wsl/lib");
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("WSL2: no /dev/dxg"), HasSubstr("wsl --update"), Not(HasSubstr("docker"))));
  AddDocker();
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("WSL2: no /dev/dxg in this container"),
                           HasSubstr("docker run --device /dev/dxg --volume /usr/lib/wsl:/usr/lib/wsl")));
  root_.File("/dev/dxg");
  AddLoader();
  AddIcd();
  EXPECT_EQ(Gpu(), "nothing is missing");
  std::filesystem::remove_all(root_.path("/usr/lib/wsl"));
  EXPECT_THAT(Gpu(), AllOf(HasSubstr("WSL2: no /usr/lib/wsl/lib"), HasSubstr("--volume /usr/lib/wsl:/usr/lib/wsl")));
  EXPECT_THAT(Npu(), HasSubstr("WSL2 does not pass an NPU on"));
}

TEST_F(DoctorTest, NpuNodeIsMissing) {
  root_.Folder("/sys/bus/pci/devices");
  EXPECT_THAT(Npu(), HasSubstr("no Intel NPU on the PCI bus"));
  AddNpuOnBus("");
  EXPECT_THAT(Npu(), AllOf(HasSubstr("the kernel has no driver for the NPU 8086:7d1d"), HasSubstr("sudo modprobe intel_vpu")));
  root_.Link(std::string(kNpuAddress) + "driver", "../../../bus/pci/drivers/intel_vpu");
  EXPECT_THAT(Npu(), AllOf(HasSubstr("though driver intel_vpu has the NPU"), HasSubstr("dmesg | grep intel_vpu")));
}

TEST_F(DoctorTest, NpuCausesInTheirOrder) {
  AddNpuOnBus();
  AddDocker();
  root_.Node("/dev/accel/accel0");
  EXPECT_THAT(Shown(WhyAbsent(DeviceKind::kNpu, root_.View(false))),
              AllOf(HasSubstr("/dev/accel/accel0 is there"), HasSubstr(fmt::format("--group-add {} ", root_.NodeGroup()))));
  EXPECT_THAT(Npu(), AllOf(HasSubstr("no Level Zero loader (libze_loader.so.1)"), HasSubstr("apt-get install libze1")));
  AddLevelZero();
  EXPECT_THAT(Npu(), AllOf(HasSubstr("no NPU driver library (libze_intel_npu.so.1)"), HasSubstr("intel-level-zero-npu")));
  AddNpuDriver();
  EXPECT_THAT(Npu(), AllOf(HasSubstr("no NPU compiler"), HasSubstr("install intel-driver-compiler-npu")));
  AddNpuCompiler();
  EXPECT_EQ(Npu(), "nothing is missing");
}

TEST_F(DoctorTest, LevelZeroTooOld) {
  root_.Node("/dev/accel/accel0");
  AddNpuDriver();
  AddLevelZero("1.8.0", "..zeCommandQueueSynchronize..");
  EXPECT_THAT(Npu(), AllOf(HasSubstr("libze_loader.so.1.8.0 is too old"), HasSubstr("it has no zeCommandListHostSynchronize"),
                           HasSubstr("1.18.5 or newer")));
}

TEST_F(DoctorTest, LevelZeroThatDoesNotLookForTheDriver) {
  root_.Node("/dev/accel/accel0");
  AddNpuDriver();
  AddNpuCompiler();
  AddLevelZero("1.17.44", "zeCommandListHostSynchronize libze_intel_gpu.so libze_intel_vpu.so");
  EXPECT_THAT(Npu(), HasSubstr("libze_loader.so.1.17.44 is too old to look for the NPU driver libze_intel_npu.so.1"));
  root_.File(std::string(kLibraries) + "libze_intel_vpu.so.1");  // the name that every loader knows
  EXPECT_EQ(Npu(), "nothing is missing");
}

TEST_F(DoctorTest, AnswersForEveryName) {
  AddWholeGpu();
  const SystemView view = root_.View();
  EXPECT_EQ(ExplainAbsence("GPU.2", view), "GPU.2 would be Intel GPU number 3, and 1 is here; name GPU.0");
  AddRenderNode(129);
  EXPECT_THAT(ExplainAbsence("GPU.2", view), HasSubstr("name one of GPU.0 to GPU.1"));
  EXPECT_THAT(ExplainAbsence("GPU", view, "Can't get OpenCL\nplatforms"),
              AllOf(HasSubstr("it finds no device all the same (it says: Can't get OpenCL?platforms)"), HasSubstr("clinfo")));
  EXPECT_EQ(ExplainAbsence("NPU.4000", view), ExplainAbsence("NPU", view));
  EXPECT_THAT(ExplainAbsence("MYRIAD", view), AllOf(HasSubstr("no plugin has registered a device MYRIAD"),
                                                    HasSubstr("--device_plugin MYRIAD=/path/of/its/library.so")));
  EXPECT_THAT(ExplainAbsence("CPU", view), HasSubstr("install OpenVINO again"));
}

TEST_F(DoctorTest, GpuNumberThatThisUserMayNotOpen) {
  AddWholeGpu();
  AddRenderNode(129);
  AddDocker();
  SystemView view = root_.View();
  view.open_node = [](const std::string& path) { return path.ends_with("129") ? EACCES : 0; };
  EXPECT_THAT(ExplainAbsence("GPU.1", view), AllOf(HasSubstr("/dev/dri/renderD129 is there"), HasSubstr("--group-add")));
}

// A root that somebody made to lead the reader astray.
TEST_F(DoctorTest, HostileFiles) {
  AddGpuOnBus();
  AddRenderNode();
  AddLoader();
  root_.File("/etc/OpenCL/vendors/a.icd", "lib\x1b[31m" + std::string(5000, 'x'));
  root_.Link("/etc/OpenCL/vendors/b.icd", "b.icd");
  root_.Folder("/etc/OpenCL/vendors/c.icd");
  ASSERT_EQ(mkfifo(root_.path("/etc/OpenCL/vendors/d.icd").c_str(), 0600), 0);
  root_.File("/etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n");
  root_.File("/etc/ld.so.conf.d/again.conf", "include /etc/ld.so.conf.d/*.conf\n");
  const std::string said = Gpu();
  EXPECT_THAT(said, AllOf(HasSubstr("no OpenCL driver"), Not(HasSubstr("\x1b"))));
  EXPECT_LT(said.size(), 2000u);
}

TEST_F(DoctorTest, LinksStayInsideTheRoot) {
  root_.File("/inner/file", "inside").Link("/absolute", "/inner/file").Link("/deep/up", "../../../../inner/file");
  root_.Link("/out", "/" + root_.path("/inner/file"));
  const SystemView view = root_.View();
  EXPECT_EQ(view.Read("/absolute"), "inside");
  EXPECT_EQ(view.Read("/deep/up"), "inside");
  EXPECT_EQ(view.Read("/../../inner/./file"), "inside");
  EXPECT_EQ(view.Read("/out"), std::nullopt);
}

TEST_F(DoctorTest, UserOfTheRoot) {
  root_.File("/proc/self/status", "Name:\tx\nUid:\t7\t5000\t7\t7\nGid:\t7\t5001\t7\t7\nGroups:\t39 44 \n");
  const SystemUser user = SystemView::At(root_.path()).user;
  EXPECT_EQ(user.uid, 5000u);
  EXPECT_EQ(user.gid, 5001u);
  EXPECT_EQ(user.groups, (std::vector<uint32_t>{39, 44}));
}

TEST(SystemView, TheLibraryPathIsTheEnvironments) {
  const std::string first = "/a/folder/with/a/name/that/is/too/long/for/a/short/string", second = "/b" + first;
  const char* const before = getenv("LD_LIBRARY_PATH");
  const std::string kept = before == nullptr ? "" : before;
  setenv("LD_LIBRARY_PATH", (first + ":" + second).c_str(), 1);
  const SystemView view = SystemView::Own();
  before == nullptr ? unsetenv("LD_LIBRARY_PATH") : setenv("LD_LIBRARY_PATH", kept.c_str(), 1);
  EXPECT_THAT(view.library_path, ::testing::ElementsAre(first, second));
}

}  // namespace
}  // namespace switchyard
