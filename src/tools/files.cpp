#include "tools/read_file.h"

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

}  // namespace switchyard
