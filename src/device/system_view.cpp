#include "device/system_view.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>

#include "base/environment.h"
#include "config/text.h"

namespace switchyard {
namespace {

constexpr int kMostLinks = 40;  // as Linux

SystemUser OwnUser() {
  SystemUser user{.uid = geteuid(), .gid = getegid()};
  const int count = getgroups(0, nullptr);
  if (count > 0) {
    std::vector<gid_t> groups(static_cast<size_t>(count));
    const int filled = getgroups(count, groups.data());
    if (filled > 0) user.groups.assign(groups.begin(), groups.begin() + filled);
  }
  return user;
}

// "Uid:  real effective saved fs" and "Groups: 44 993".
std::optional<SystemUser> UserOf(std::string_view status) {
  const auto numbers = [&](std::string_view key) {
    std::vector<uint32_t> found;
    std::string text(FieldOf(status, key));
    std::replace(text.begin(), text.end(), '\t', ' ');
    for (const std::string_view word : SplitText(text, ' ')) {
      if (const auto number = ParseNumber(word); number && *number <= UINT32_MAX)
        found.push_back(static_cast<uint32_t>(*number));
    }
    return found;
  };
  const std::vector<uint32_t> uids = numbers("Uid"), gids = numbers("Gid");
  if (uids.size() < 2 || gids.size() < 2) return std::nullopt;
  return SystemUser{.uid = uids[1], .gid = gids[1], .groups = numbers("Groups")};
}

void PushParts(std::string_view path, std::vector<std::string>* pending) {
  const std::vector<std::string_view> parts = SplitText(path, '/');
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) pending->emplace_back(*part);
}

std::string LinkText(const std::string& host_path) {
  char target[PATH_MAX];
  const ssize_t length = readlink(host_path.c_str(), target, sizeof(target));
  return length <= 0 ? "" : std::string(target, static_cast<size_t>(length));
}

}  // namespace

SystemView SystemView::Own() {
  SystemView view;
  view.user = OwnUser();
  const std::string library_path = EnvironmentValue("LD_LIBRARY_PATH");  // outlives the views into it
  for (const std::string_view folder : SplitText(library_path, ':')) view.library_path.emplace_back(folder);
  view.icd_vendors = EnvironmentValue("OCL_ICD_VENDORS");
  view.alt_npu_drivers = !EnvironmentValue("ZE_ENABLE_ALT_DRIVERS").empty();
  view.kubernetes = !EnvironmentValue("KUBERNETES_SERVICE_HOST").empty();
  return view;
}

SystemView SystemView::At(std::string_view folder) {
  while (folder.ends_with('/')) folder.remove_suffix(1);
  if (folder.empty()) return Own();
  SystemView view;
  view.root = folder;
  const auto status = view.Read("/proc/self/status");
  view.user = UserOf(status.value_or("")).value_or(OwnUser());
  return view;
}

std::optional<std::string> SystemView::RealPath(std::string_view path) const {
  std::vector<std::string> pending;
  PushParts(path, &pending);
  std::string inside;
  int links = 0;
  while (!pending.empty()) {
    const std::string part = std::move(pending.back());
    pending.pop_back();
    if (part == ".") continue;
    if (part == "..") {
      inside.resize(inside.empty() ? 0 : inside.rfind('/'));
      continue;
    }
    const std::string candidate = inside + "/" + part;
    struct stat facts;
    if (candidate.size() >= PATH_MAX || lstat((root + candidate).c_str(), &facts) != 0) return std::nullopt;
    if (!S_ISLNK(facts.st_mode)) {
      inside = candidate;
      continue;
    }
    const std::string target = LinkText(root + candidate);
    if (target.empty() || ++links > kMostLinks) return std::nullopt;
    if (target.front() == '/') inside.clear();
    PushParts(target, &pending);
  }
  return inside.empty() ? "/" : inside;
}

std::optional<FileFacts> SystemView::Stat(std::string_view path) const {
  const auto real = RealPath(path);
  struct stat facts;
  if (!real || lstat((root + *real).c_str(), &facts) != 0) return std::nullopt;
  const FileFacts::Kind kind = S_ISDIR(facts.st_mode)   ? FileFacts::Kind::kFolder
                               : S_ISREG(facts.st_mode) ? FileFacts::Kind::kFile
                                                        : FileFacts::Kind::kOther;
  return FileFacts{kind, facts.st_uid, facts.st_gid, facts.st_mode & 07777};
}

bool SystemView::IsFolder(std::string_view path) const {
  const auto facts = Stat(path);
  return facts && facts->kind == FileFacts::Kind::kFolder;
}

std::optional<std::vector<std::string>> SystemView::List(std::string_view folder) const {
  const auto real = RealPath(folder);
  DIR* handle = real ? opendir((root + *real).c_str()) : nullptr;
  if (handle == nullptr) return std::nullopt;
  std::vector<std::string> names;
  while (const dirent* entry = readdir(handle)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  closedir(handle);
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::string> SystemView::Read(std::string_view path, size_t limit) const {
  const auto real = RealPath(path);
  if (!real) return std::nullopt;
  const int file = open((root + *real).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
  if (file < 0) return std::nullopt;
  struct stat facts;
  std::optional<std::string> text;
  if (fstat(file, &facts) == 0 && S_ISREG(facts.st_mode)) {
    text.emplace();
    char block[16384];
    while (text->size() < limit) {
      const ssize_t got = read(file, block, std::min(sizeof(block), limit - text->size()));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      text->append(block, static_cast<size_t>(got));
    }
  }
  close(file);
  return text;
}

std::string SystemView::ReadWord(std::string_view path) const { return std::string(Trim(Read(path, 4096).value_or(""))); }

std::string SystemView::ReadLink(std::string_view path) const {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return "";
  const auto folder = RealPath(path.substr(0, slash));
  return folder ? LinkText(root + *folder + std::string(path.substr(slash))) : "";
}

int SystemView::OpenNode(const std::string& path) const {
  if (open_node) return open_node(path);
  if (live()) {
    // Really opened: access control lists, user namespaces and a container's list of allowed devices are in no permission bit.
    const int node = open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (node < 0) return errno;
    close(node);
    return 0;
  }
  const auto facts = Stat(path);
  if (!facts) return ENOENT;
  constexpr uint32_t kReadWrite = 6;
  const bool in_group =
      user.gid == facts->gid || std::find(user.groups.begin(), user.groups.end(), facts->gid) != user.groups.end();
  const uint32_t bits = user.uid == facts->uid ? facts->mode >> 6 : in_group ? facts->mode >> 3 : facts->mode;
  return user.uid == 0 || (bits & kReadWrite) == kReadWrite ? 0 : EACCES;
}

std::string Printable(std::string_view text) {
  std::string shown;
  for (const char c : text.substr(0, 200)) shown += c >= ' ' && c <= '~' ? c : '?';
  return shown;
}

std::vector<std::string_view> SplitText(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = text.find(separator);
    if (end != 0) parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

std::vector<std::string_view> Lines(std::string_view text) { return SplitText(text, '\n'); }

std::string_view FieldOf(std::string_view text, std::string_view key, char separator) {
  for (const std::string_view line : Lines(text)) {
    const size_t at = line.find(separator);
    if (at != std::string_view::npos && Trim(line.substr(0, at)) == key) return Trim(line.substr(at + 1));
  }
  return "";
}

std::optional<uint64_t> ParseNumber(std::string_view text, int base) {
  if (base == 16 && (text.starts_with("0x") || text.starts_with("0X"))) text.remove_prefix(2);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace switchyard
