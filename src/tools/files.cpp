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

Status WriteFile(const std::string& path, std::string_view text) {
  std::error_code error;
  const fs::file_status there = fs::status(path, error);
  bool good = false;
  if (fs::exists(there) && !fs::is_regular_file(there)) {
    // A pipe, a terminal, /dev/null: nothing may take its place.
    std::ofstream file(path, std::ios::binary);
    file.write(text.data(), static_cast<std::streamsize>(text.size()));
    file.close();
    good = file.good();
  } else {
    // What a link names is replaced, not the link.
    const fs::path target = fs::weakly_canonical(path, error);
    good = WriteWholeFile(error ? path : target.string(), text, {.keep_mode = true}) == 0;
  }
  if (good) return absl::OkStatus();
  return InvalidArgument("{}: cannot write the file; name one in a folder that is there and may be written to", path);
}

}  // namespace switchyard
