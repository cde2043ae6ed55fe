#include "runtime/openvino/model_cache.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>

#include "base/log.h"
#include "runtime/openvino/name_mapping.h"
#include "runtime/openvino/openvino_runtime.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxListBytes = 65536;
constexpr std::string_view kStaging = ".staging-";
constexpr int kStagingTries = 8;
// What a process left that ended while it compiled, where no lock can tell.
constexpr auto kStale = std::chrono::hours(24);

class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void Add(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string Hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
    unsigned int size = 0;
    EVP_DigestFinal_ex(context_.get(), bytes.data(), &size);
    std::string hex;
    for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", bytes[i]);
    return hex;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

// Of a regular file; nothing when it cannot be read.
std::optional<std::string> DigestOf(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return std::nullopt;
  Digest digest;
  struct stat status;
  bool good = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  std::string buffer(size_t{1} << 20, '\0');
  while (good) {
    const ssize_t count = read(fd, buffer.data(), buffer.size());
    if (count == 0) break;
    if (count < 0 && errno == EINTR) continue;
    good = count > 0;
    if (good) digest.Add({buffer.data(), static_cast<size_t>(count)});
  }
  close(fd);
  if (!good) return std::nullopt;
  return digest.Hex();
}

struct Entry {
  std::string digest;
  std::string name;
};

// Whoever can write the list names files with it: only names within the folder are taken.
std::vector<Entry> ReadList(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxListBytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  std::vector<Entry> entries;
  std::istringstream lines(text);
  for (Entry entry; lines >> entry.digest >> entry.name;) {
    if (entry.name.find('/') != std::string::npos || entry.name.starts_with(".")) return {};
    entries.push_back(entry);
  }
  return entries;
}

bool WriteFile(const std::string& path, const std::string& text) {
  const std::string beside = fmt::format("{}.{}.tmp", path, getpid());
  std::ofstream file(beside, std::ios::binary);
  file << text;
  file.close();
  std::error_code error;
  if (file.good() && std::rename(beside.c_str(), path.c_str()) == 0) return true;
  fs::remove(beside, error);
  return false;
}

bool IsFull(const std::string& folder) {
  struct statvfs status;
  return statvfs(folder.c_str(), &status) == 0 && status.f_blocks > 0 && status.f_bavail == 0;
}

// A folder, and whether this process alone has it. Where there are no locks, nobody has any.
int LockFolder(const std::string& folder) {
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0 || flock(descriptor, LOCK_EX | LOCK_NB) == 0) return descriptor;
  const int error = errno;
  close(descriptor);
  errno = error;
  return -1;
}

void AddFile(std::string& text, const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) return;
  const auto written = fs::last_write_time(path, error).time_since_epoch().count();
  text += fmt::format("\nfile {} {} {}", path.string(), size, written);
}

}  // namespace

ModelCache::ModelCache(const std::string& folder, const std::string& identity) : folder_(folder) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error || !fs::is_directory(folder_, error)) {
    Complain(fmt::format("the cache folder {} cannot be used ({}); compiled without a cache", folder_,
                         error ? error.message() : "it is no folder"));
    return;
  }
  Digest digest;
  digest.Add(identity);
  list_ = (fs::path(folder_) / (digest.Hex().substr(0, 32) + ".sha256")).string();
  Verify();
  if (ready_) {
    directory_ = folder_;
  } else if (!Stage()) {
    Complain(fmt::format("the cache folder {} cannot be written ({}); compiled without a cache", folder_, strerror(errno)));
  }
}

ModelCache& ModelCache::operator=(ModelCache&& other) noexcept {
  std::swap(folder_, other.folder_);
  std::swap(list_, other.list_);
  std::swap(directory_, other.directory_);
  std::swap(staging_, other.staging_);
  std::swap(lock_, other.lock_);
  std::swap(ready_, other.ready_);
  std::swap(reasons_, other.reasons_);
  return *this;
}

ModelCache::~ModelCache() { Unstage(); }

void ModelCache::Verify() {
  const std::vector<Entry> entries = ReadList(list_);
  ready_ = !entries.empty();
  for (const Entry& entry : entries) {
    const fs::path path = fs::path(folder_) / entry.name;
    if (DigestOf(path) == entry.digest) continue;
    ready_ = false;
    std::error_code error;
    if (!fs::exists(fs::symlink_status(path, error))) continue;  // cleared by somebody
    fs::rename(path, path.string() + ".bad", error);
    Complain(
        fmt::format("the cached model {} is not what was written; it is set aside as {}.bad, and the model is compiled anew",
                    path.string(), entry.name));
  }
  std::error_code error;
  if (!ready_) fs::remove(list_, error);
}

bool ModelCache::Stage() {
  RemoveAbandoned(folder_);
  // Between the making and the lock another process may take the folder for an abandoned one.
  for (int i = 0; i < kStagingTries; ++i) {
    std::string name = (fs::path(folder_) / (std::string(kStaging) + "XXXXXX")).string();
    if (mkdtemp(name.data()) == nullptr) return false;
    const int lock = LockFolder(name);
    const bool taken = lock < 0 && errno == EWOULDBLOCK;
    std::error_code error;
    if (!taken && fs::exists(name, error)) {
      staging_ = directory_ = name;
      lock_ = lock;
      return true;
    }
    if (lock >= 0) close(lock);
  }
  errno = EBUSY;
  return false;
}

void ModelCache::Unstage() {
  std::error_code error;
  if (!staging_.empty()) fs::remove_all(std::exchange(staging_, ""), error);
  if (lock_ >= 0) close(std::exchange(lock_, -1));
}

void ModelCache::Finish(bool hit) {
  if (directory_.empty()) return;
  if (staging_.empty()) {
    // The blobs were whole, yet OpenVINO did not want them (another version of a driver): what it wrote in their place is
    // not known to be whole, and next time is compiled anew.
    std::error_code error;
    if (!hit) fs::remove(list_, error);
    return;
  }
  Keep();
  Unstage();
}

void ModelCache::Keep() {
  std::string list;
  std::vector<fs::path> kept;
  std::error_code error;
  // OpenVINO does not notice that a disk is full: it leaves half a file.
  bool good = !IsFull(folder_);
  for (fs::directory_iterator entry(staging_, error), end; good && !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const std::optional<std::string> digest = DigestOf(entry->path());
    if (!digest.has_value() || name.find_first_of(" \n\t") != std::string::npos) continue;
    const fs::path to = fs::path(folder_) / name;
    good = std::rename(entry->path().c_str(), to.c_str()) == 0;
    if (!good) break;
    kept.push_back(to);
    if (name.ends_with(".blob")) list += fmt::format("{}  {}\n", *digest, name);
  }
  if (good && list.empty()) {
    Complain(
        fmt::format("nothing came into the cache folder {}: the disk is full, or the device's models cannot be kept", folder_));
    return;
  }
  if (good && WriteFile(list_, list)) return;
  for (const fs::path& path : kept) fs::remove(path, error);
  Complain(fmt::format("the compiled model could not be kept in the cache folder {}; is the disk full?", folder_));
}

void ModelCache::Complain(std::string reason) { reasons_.push_back(std::move(reason)); }

void RemoveAbandoned(const std::string& folder) {
  std::error_code error;
  const auto now = fs::file_time_type::clock::now();
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (!entry->path().filename().string().starts_with(kStaging)) continue;
    std::error_code ignored;
    const int lock = LockFolder(entry->path());
    const bool in_use = lock < 0 && errno == EWOULDBLOCK;
    const auto written = fs::last_write_time(entry->path(), ignored);
    const bool old = !in_use && !ignored && now - written > kStale;
    if (lock >= 0 || old) fs::remove_all(entry->path(), ignored);
    if (lock >= 0) close(lock);
  }
}

std::string CacheIdentity(const LoadRequest& request, const std::string& properties) {
  const ModelSettings& settings = request.settings;
  std::string text = fmt::format("{}\ntarget {}\n{}", OpenVinoVersion(), request.target, properties);
  if (settings.batch_size.has_value()) text += fmt::format("\nbatch {}:{}", settings.batch_size->min, settings.batch_size->max);
  if (settings.dynamic_batching.has_value()) text += fmt::format("\nbatching {}", settings.dynamic_batching->max_batch_size);
  for (const auto& [name, shape] : settings.shapes) text += fmt::format("\nshape {} {}", name, shape.ToString());
  for (const auto& [name, layout] : settings.layouts)
    text += fmt::format("\nlayout {} {}:{}", name, layout.tensor, layout.model);
  for (const auto& [name, color] : settings.color_formats)
    text += fmt::format("\ncolor {} {}:{}", name, color.model, color.tensor);
  for (const auto& [name, type] : settings.precisions)
    text += fmt::format("\nprecision {} {}:{}", name, PrecisionName(type.tensor), PrecisionName(type.model));
  for (const auto& [name, values] : settings.means) text += fmt::format("\nmean {} {}", name, fmt::join(values, ","));
  for (const auto& [name, values] : settings.scales) text += fmt::format("\nscale {} {}", name, fmt::join(values, ","));
  const fs::path path = request.model_path;
  text += "\nmodel " + path.string();
  AddFile(text, path);
  AddFile(text, MappingPath(path));
  AddFile(text, fs::path(path).replace_extension(".bin"));
  return text;
}

}  // namespace switchyard
