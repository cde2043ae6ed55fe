#include "device/host_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "config/text.h"

namespace switchyard {
namespace {

bool Contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

std::string NameOfUser(const SystemView& view, uint32_t uid) {
  const std::string text = view.Read("/etc/passwd").value_or("");
  for (const std::string_view line : Lines(text)) {
    const std::vector<std::string_view> fields = Split(line, ':');  // name:x:uid:gid:...
    if (fields.size() > 2 && ParseNumber(fields[2]) == uid) return Printable(fields[0]);
  }
  return "$USER";
}

struct Group {
  std::string name;  // empty: the number has no name
  bool has_user = false;
};

Group FindGroup(const SystemView& view, uint32_t gid, std::string_view user) {
  const std::string text = view.Read("/etc/group").value_or("");
  for (const std::string_view line : Lines(text)) {
    const std::vector<std::string_view> fields = Split(line, ':');  // name:x:gid:user,user
    if (fields.size() < 3 || ParseNumber(fields[2]) != gid) continue;
    Group group{.name = Printable(fields[0])};
    if (fields.size() > 3) {
      const std::vector<std::string_view> members = SplitText(fields[3], ',');
      group.has_user = std::find(members.begin(), members.end(), user) != members.end();
    }
    return group;
  }
  return {};
}

// What a user outside of a container does to come into the node's group.
std::string JoinGroup(const SystemView& view, uint32_t gid) {
  const std::string user = NameOfUser(view, view.user.uid);
  const Group group = FindGroup(view, gid, user);
  if (group.has_user) {
    return fmt::format("{} is in group {} since after this session began: log out and in again, or run `newgrp {}`", user,
                       group.name, group.name);
  }
  if (!group.name.empty()) return fmt::format("sudo usermod -aG {} {}   (then log in again)", group.name, user);
  return fmt::format(
      "group {0} has no name here: sudo groupadd -g {0} device{0} && sudo usermod -aG device{0} {1}   (then log "
      "in again)",
      gid, user);
}

Absence NotInGroup(const SystemView& view, const DeviceNode& node) {
  constexpr uint32_t kGroupReadWrite = 060, kNobody = 65534;
  const std::string user = fmt::format("this user (uid {})", view.user.uid);
  const Container container = FindContainer(view);
  if ((node.mode & kGroupReadWrite) != kGroupReadWrite || (node.gid == 0 && container == Container::kNone)) {
    return {fmt::format("{} is there, but its permissions (mode {:03o}, group {}) keep {} out", node.path, node.mode, node.gid,
                        user),
            fmt::format("{}sudo chgrp render {} && sudo chmod g+rw {}",
                        container == Container::kNone ? "" : "on the host: ", node.path, node.path)};
  }
  Absence absence{fmt::format("{} is there, but {} is not in its group {}", node.path, user, node.gid), ""};
  if (container == Container::kNone) {
    absence.remedy = JoinGroup(view, node.gid);
  } else if (container == Container::kKubernetes) {
    absence.remedy = fmt::format("in the pod's securityContext: supplementalGroups: [{}]", node.gid);
  } else if (container == Container::kPodman && node.gid == kNobody) {
    // Without root, podman shows a group that is not mapped as nobody's.
    absence.remedy = StartAgain(container, "--group-add keep-groups");
  } else {
    absence.remedy = StartAgain(container, fmt::format("--group-add {}", node.gid));
  }
  return absence;
}

std::optional<uint32_t> HexWord(const SystemView& view, const std::string& path) {
  const auto number = ParseNumber(view.ReadWord(path), 16);
  return number && *number <= UINT32_MAX ? std::optional<uint32_t>(static_cast<uint32_t>(*number)) : std::nullopt;
}

// The folders that ld.so.conf and the files it includes name. Files that include one another end by the limits.
std::vector<std::string> ConfiguredFolders(const SystemView& view) {
  constexpr size_t kMostFiles = 256, kMostFolders = 1024;
  std::vector<std::string> files = {"/etc/ld.so.conf"}, folders;
  for (size_t i = 0; i < files.size() && i < kMostFiles; ++i) {
    const std::string text = view.Read(files[i]).value_or("");
    for (std::string_view line : Lines(text)) {
      line = Trim(line.substr(0, line.find('#')));
      if (line.starts_with('/') && folders.size() < kMostFolders) folders.emplace_back(line);
      if (!line.starts_with("include")) continue;
      // "include /etc/ld.so.conf.d/*.conf": the one pattern that is in use.
      const std::string_view pattern = Trim(line.substr(7));
      const size_t slash = pattern.rfind('/');
      if (slash == std::string_view::npos || !pattern.starts_with('/')) continue;
      const std::string folder(pattern.substr(0, slash));
      for (const std::string& name : view.List(folder).value_or(std::vector<std::string>())) {
        if (name.ends_with(".conf") && files.size() < kMostFiles) files.push_back(folder + "/" + name);
      }
    }
  }
  return folders;
}

// Where the dynamic loader looks, and the plugins beside themselves.
std::vector<std::string> LibraryFolders(const SystemView& view) {
  std::vector<std::string> folders = view.library_path;
  if (auto own = OpenVinoFolder(view)) folders.push_back(*std::move(own));
  for (std::string& folder : ConfiguredFolders(view)) folders.push_back(std::move(folder));
  for (const char* folder : {"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu",
                             "/usr/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"}) {
    folders.emplace_back(folder);
  }
  return folders;
}

}  // namespace

Container FindContainer(const SystemView& view) {
  const std::string groups = view.Read("/proc/self/cgroup").value_or("") + view.Read("/proc/1/cgroup").value_or("");
  if (view.kubernetes || view.Exists("/run/secrets/kubernetes.io") || view.Exists("/var/run/secrets/kubernetes.io") ||
      Contains(groups, "kubepods")) {
    return Container::kKubernetes;
  }
  if (view.Exists("/run/.containerenv") || Contains(groups, "libpod")) return Container::kPodman;
  if (view.Exists("/.dockerenv") || Contains(groups, "/docker")) return Container::kDocker;
  if (Contains(groups, "containerd") || Contains(groups, "/lxc")) return Container::kOther;
  return Container::kNone;
}

bool IsWsl(const SystemView& view) {
  // "Linux version 5.15.153.1-microsoft-standard-WSL2 (builder) ...": the release alone counts; the builder of other kernels
  // may be of that name as well.
  const std::string version = view.Read("/proc/version", 4096).value_or("");
  const std::vector<std::string_view> words = SplitText(version, ' ');
  return words.size() > 2 && Contains(ToUpper(words[2]), "MICROSOFT");
}

std::string PciDevice::Name() const { return fmt::format("{:04x}:{:04x} at {}", vendor, device, address); }

std::optional<std::vector<PciDevice>> IntelPciDevices(const SystemView& view, uint32_t class_prefix, int digits) {
  const std::string bus = "/sys/bus/pci/devices";
  const auto names = view.List(bus);
  if (!names) return std::nullopt;
  std::vector<PciDevice> found;
  for (const std::string& name : *names) {
    const std::string folder = bus + "/" + name;
    const uint32_t vendor = HexWord(view, folder + "/vendor").value_or(0);
    const uint32_t pci_class = HexWord(view, folder + "/class").value_or(0);  // 24 bits
    if (vendor != kIntelVendor || pci_class >> (4 * (6 - digits)) != class_prefix) continue;
    const std::string driver = view.ReadLink(folder + "/driver");
    found.push_back({Printable(name), vendor, HexWord(view, folder + "/device").value_or(0),
                     Printable(std::string_view(driver).substr(driver.rfind('/') + 1))});
  }
  return found;
}

Absence GivenAway(const PciDevice& device, std::string_view kind, std::string_view bind) {
  return {fmt::format("the {} {} is given away to virtual machines (driver vfio-pci)", kind, device.Name()),
          fmt::format("give it back: echo {0} | sudo tee /sys/bus/pci/drivers/vfio-pci/unbind && echo {0} | sudo tee "
                      "/sys/bus/pci/drivers/{1}",
                      device.address, bind)};
}

std::vector<DeviceNode> FindNodes(const SystemView& view, std::string_view folder, std::string_view prefix,
                                  std::string_view class_folder) {
  std::vector<std::pair<uint64_t, DeviceNode>> found;
  for (const std::string& name : view.List(folder).value_or(std::vector<std::string>())) {
    const auto number = name.starts_with(prefix) ? ParseNumber(std::string_view(name).substr(prefix.size())) : std::nullopt;
    const std::string path = fmt::format("{}/{}", folder, name);
    const auto facts = number ? view.Stat(path) : std::nullopt;
    if (!facts || facts->kind == FileFacts::Kind::kFolder) continue;
    const std::string device = fmt::format("{}/{}/device", class_folder, name);
    found.emplace_back(*number, DeviceNode{path, HexWord(view, device + "/vendor"), HexWord(view, device + "/device"),
                                           facts->gid, facts->mode});
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<DeviceNode> nodes;
  for (auto& [number, node] : found) nodes.push_back(std::move(node));
  return nodes;
}

std::optional<Absence> WhyClosed(const SystemView& view, const DeviceNode& node, DeviceKind kind) {
  const int error = view.OpenNode(node.path);
  if (error == 0) return std::nullopt;
  if (error == EACCES) return NotInGroup(view, node);
  const Container container = FindContainer(view);
  if (error == EPERM && container != Container::kNone) {
    return Absence{
        fmt::format("{} is there, but the container may not use it: it came by a volume, or with no right to it", node.path),
        StartAgain(container, PassFlags(kind))};
  }
  return Absence{
      fmt::format("{} cannot be opened: {}", node.path, std::strerror(error)),
      fmt::format("see what the kernel says: sudo dmesg | grep -iE '{}'", kind == DeviceKind::kGpu ? "i915|xe" : "intel_vpu")};
}

std::string PassFlags(DeviceKind kind) {
  return kind == DeviceKind::kGpu ? "--device /dev/dri --group-add=$(stat -c \"%g\" /dev/dri/render* | head -n 1)"
                                  : "--device /dev/accel --group-add=$(stat -c \"%g\" /dev/accel/accel* | head -n 1)";
}

std::string StartAgain(Container container, std::string_view flags) {
  return fmt::format("start the container again with: {} run {} ...", container == Container::kPodman ? "podman" : "docker",
                     flags);
}

std::string Install(const SystemView& view, std::string_view debian, std::string_view fedora) {
  const std::string release = view.Read("/etc/os-release").value_or("");
  std::string family;  // what it is, and what it is made of
  for (const char* key : {"ID", "ID_LIKE"}) {
    std::string_view words = FieldOf(release, key, '=');
    while (words.starts_with('"') || words.starts_with('\'')) words.remove_prefix(1);
    while (words.ends_with('"') || words.ends_with('\'')) words.remove_suffix(1);
    family += fmt::format(" {} ", words);
  }
  const auto is = [&family](std::string_view name) { return Contains(family, fmt::format(" {} ", name)); };
  std::string command = fmt::format("apt-get install {}", debian);
  if (is("fedora") || is("rhel")) {
    command = fmt::format("dnf install {}", fedora);
  } else if (is("arch")) {
    command = fmt::format("pacman -S {}", fedora);
  } else if (!Trim(family).empty() && !is("debian") && !is("ubuntu")) {
    return fmt::format("install what Debian calls {} and Fedora {}", debian, fedora);
  }
  if (FindContainer(view) == Container::kNone) return "sudo " + command;
  return fmt::format("add to the image: {}", command);
}

std::optional<std::string> FindLibrary(const SystemView& view, std::string_view name) {
  for (const std::string& folder : LibraryFolders(view)) {
    const std::string path = fmt::format("{}/{}", folder, name);
    const auto facts = view.Stat(path);
    if (facts && facts->kind == FileFacts::Kind::kFile) return path;
  }
  return std::nullopt;
}

std::optional<std::string> FindLibraryBeginning(const SystemView& view, std::string_view prefix) {
  for (const std::string& folder : LibraryFolders(view)) {
    for (const std::string& name : view.List(folder).value_or(std::vector<std::string>())) {
      if (name.starts_with(prefix)) return folder + "/" + name;
    }
  }
  return std::nullopt;
}

std::optional<std::string> OpenVinoFolder(const SystemView& view) {
  if (!view.live()) return std::nullopt;
  const std::string maps = view.Read("/proc/self/maps", size_t{16} << 20).value_or("");
  for (const std::string_view line : Lines(maps)) {
    const size_t begin = line.find('/');
    const size_t end = line.find("/libopenvino.so");
    if (begin != std::string_view::npos && end != std::string_view::npos) return std::string(line.substr(begin, end - begin));
  }
  return std::nullopt;
}

std::string VersionInName(std::string_view path) {
  constexpr std::string_view kMark = ".so.";
  const size_t at = path.rfind(kMark);
  return at == std::string_view::npos ? "" : Printable(path.substr(at + kMark.size()));
}

std::vector<uint64_t> ParseVersion(std::string_view version) {
  std::vector<uint64_t> numbers;
  for (const std::string_view part : SplitText(version, '.')) {
    const auto number = ParseNumber(part);
    if (!number) return {};
    numbers.push_back(*number);
  }
  return numbers;
}

}  // namespace switchyard
