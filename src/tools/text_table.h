// What the tools' reports on a terminal are made of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace switchyard {

// Columns as wide as their widest cell, two spaces between; nothing behind the last one.
std::string Table(const std::vector<std::vector<std::string>>& rows);

// "512 MiB", "3.5 GiB"; "-" for 0, which is "not told".
std::string BytesText(uint64_t bytes);

}  // namespace switchyard
