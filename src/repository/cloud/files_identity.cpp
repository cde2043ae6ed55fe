#include "repository/cloud/files_identity.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "config/cloud_url.h"
#include "repository/cloud/version_copy.h"

namespace switchyard {

namespace fs = std::filesystem;

std::string FilesIdentity(const std::string& base_path, int64_t version, const std::string& model_path,
                          const std::vector<FileStamp>& files) {
  std::error_code error;
  const fs::path model = model_path;
  if (IsCloudUrl(base_path)) {
    const fs::path folder = fs::is_directory(model, error) ? model : model.parent_path();
    const std::vector<StoredObject> objects = ReadCopied(folder.string());
    std::string text = fmt::format("model {} version {} {}", base_path, version, model.lexically_relative(folder).string());
    for (const StoredObject& object : objects) text += fmt::format("\nobject {} {} {}", object.bytes, object.tag, object.key);
    if (!objects.empty()) return text;
  }
  std::string text = "model " + model_path;
  for (const FileStamp& file : files) text += fmt::format("\nfile {} {} {}", file.path, file.size, file.modified_ns);
  return text;
}

}  // namespace switchyard
