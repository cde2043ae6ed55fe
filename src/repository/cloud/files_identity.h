// What the files of one version are, as text: for the key of what is compiled of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "repository/files_state.h"

namespace switchyard {

// The same text is the same bytes, as far as can be told without reading them. Of a version in cloud storage: its URL and what
// the storage said of its objects, wherever the copy lies and whenever it was made. Of any other: where it lies, and the sizes
// and times of all its files.
// `base_path`: the model's, as its settings have it; `model_path`: as ListVersions has it; `files`: what ReadFilesState says.
// Reads a small file at most.
std::string FilesIdentity(const std::string& base_path, int64_t version, const std::string& model_path,
                          const std::vector<FileStamp>& files);

}  // namespace switchyard
