#include "tools/text_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace switchyard {

std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string BytesText(uint64_t bytes) {
  constexpr double kMiB = 1 << 20, kGiB = 1 << 30;
  if (bytes == 0) return "-";
  return bytes >= uint64_t{1} << 30 ? fmt::format("{:.1f} GiB", static_cast<double>(bytes) / kGiB)
                                    : fmt::format("{:.0f} MiB", static_cast<double>(bytes) / kMiB);
}

}  // namespace switchyard
