#include "tools/files.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/whole_file.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

}  // namespace

StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return InvalidArgument("cannot read {}: {}", path, std::strerror(errno));
  std::ostringstream bytes;
  // Inserting nothing at all sets the fail bit, so an empty file would look like a fault.
  if (file.peek() != std::ifstream::traits_type::eof()) bytes << file.rdbuf();
  if (file.bad() || !bytes) return InvalidArgument("cannot read {}: is it a file?", path);
  return std::move(bytes).str();
}

namespace {

// A pipe, a terminal, /dev/null: nothing may take its place.
bool IsWrittenInPlace(const std::string& path) {
  std::error_code error;
  const fs::file_status there = fs::status(path, error);
  return fs::exists(there) && !fs::is_regular_file(there);
}

// What a link names is replaced, not the link.
std::string TargetOf(const std::string& path) {
  std::error_code error;
  const fs::path target = fs::weakly_canonical(path, error);
  return error ? path : target.string();
}

Status Unwritable(const std::string& path) {
  return InvalidArgument("{}: cannot write the file; name one in a folder that is there and may be written to", path);
}

}  // namespace

Status WriteFile(const std::string& path, std::string_view text) {
  if (!IsWrittenInPlace(path)) {
    return WriteWholeFile(TargetOf(path), text, {.keep_mode = true}) == 0 ? absl::OkStatus() : Unwritable(path);
  }
  std::ofstream file(path, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  return file.good() ? absl::OkStatus() : Unwritable(path);
}

Status CheckWritable(const std::string& path) {
  return IsWrittenInPlace(path) || TryWholeFile(TargetOf(path)) == 0 ? absl::OkStatus() : Unwritable(path);
}

}  // namespace switchyard
