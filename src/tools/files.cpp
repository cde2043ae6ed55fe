#include "tools/files.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

namespace switchyard {

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
  std::ofstream file(path, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  if (file.good()) return absl::OkStatus();
  return InvalidArgument("{}: cannot write the file; name one in a folder that is there and may be written to", path);
}

}  // namespace switchyard
