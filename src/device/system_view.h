// The machine as its files tell it: what the doctor reads. It reads below one folder, which may be a made-up one, starts no
// program and asks no network.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

struct SystemUser {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;  // supplementary ones
};

struct FileFacts {
  enum class Kind { kFile, kFolder, kOther };  // kOther: device nodes, sockets, pipes
  Kind kind = Kind::kFile;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mode = 0;  // the permission bits
};

// A plain value; its members may be set to play another user or environment. Every path that goes in and comes out is one
// inside the root ("/dev/dri"). Links are followed as chroot would: they never lead out of the root. Whatever a file holds is
// taken as hostile: reading never blocks on a pipe and is limited in size. Thread-safe as long as nobody changes it.
struct SystemView {
  // The machine that the process runs on, with its own user and environment.
  static SystemView Own();
  // Below `folder`, with no environment. The user is the one of its /proc/self/status, else this process's.
  static SystemView At(std::string_view folder);

  std::string root;  // "" is "/"
  SystemUser user;
  std::vector<std::string> library_path;  // of LD_LIBRARY_PATH
  std::string icd_vendors;                // OCL_ICD_VENDORS; empty: /etc/OpenCL/vendors
  bool alt_npu_drivers = false;           // ZE_ENABLE_ALT_DRIVERS names Level Zero drivers
  bool kubernetes = false;                // KUBERNETES_SERVICE_HOST is set
  // How opening a device node ends: 0 or an errno. Not set: judged by `user` and the node's permission bits.
  std::function<int(const std::string& path)> open_node;

  bool live() const { return root.empty(); }
  // The path without links; nothing when it is not there.
  std::optional<std::string> RealPath(std::string_view path) const;
  bool Exists(std::string_view path) const { return RealPath(path).has_value(); }
  std::optional<FileFacts> Stat(std::string_view path) const;
  bool IsFolder(std::string_view path) const;
  // The names in a folder, sorted; nothing when it cannot be listed.
  std::optional<std::vector<std::string>> List(std::string_view folder) const;
  // The first `limit` bytes of a regular file; nothing when it cannot be read.
  std::optional<std::string> Read(std::string_view path, size_t limit = size_t{1} << 20) const;
  // The same without white space around it; empty when it cannot be read.
  std::string ReadWord(std::string_view path) const;
  // What a link says, unresolved: "../../../bus/pci/drivers/i915". Empty when it is no link.
  std::string ReadLink(std::string_view path) const;
  int OpenNode(const std::string& path) const;
};

// Text of a file or of a driver, fit to be shown: printable ASCII alone, at most 200 bytes.
std::string Printable(std::string_view text);

// The lines of a text that are not empty, without their ends.
std::vector<std::string_view> Lines(std::string_view text);
// The parts that are not empty.
std::vector<std::string_view> SplitText(std::string_view text, char separator);
// The value of "key<separator>value" in the first line with that key, trimmed; empty when there is none.
std::string_view FieldOf(std::string_view text, std::string_view key, char separator = ':');
// A number that is the whole text; `base` 16 takes a leading 0x.
std::optional<uint64_t> ParseNumber(std::string_view text, int base = 10);

}  // namespace switchyard
