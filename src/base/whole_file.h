// Files that are there whole or not at all: written beside their place, under a hidden name that nobody else has, and renamed.
#pragma once

#include <string>
#include <string_view>

namespace switchyard {

struct WholeFileOptions {
  // That of what is there, and its owner where that may be; otherwise, and of a new one, as of any file.
  bool keep_mode = false;
  bool sync = false;  // on the disk before it returns, and its name too
  int* descriptor = nullptr;  // where it went well, takes the file, open for writing, to be closed by the caller
};

// Replaces what stands at `path`, which may be a link (and is replaced itself) but no folder. Returns 0, or errno's value for
// the first fault; then what stands there is as it was, and nothing is left beside it. Blocks. Thread-safe.
int WriteWholeFile(const std::string& path, std::string_view text, const WholeFileOptions& options = {});

// Whether WriteWholeFile can make a file beside `path`: 0, or errno's value. Leaves nothing.
int TryWholeFile(const std::string& path);

}  // namespace switchyard
