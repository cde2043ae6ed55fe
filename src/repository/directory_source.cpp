#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "repository/source.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSavedModel = "saved_model.pb";
constexpr std::string_view kExtensions = ".xml, .onnx, .pdmodel, .pb, .tflite";

struct Format {
  std::string_view extension;
  std::string_view companion;  // extension of the second file of a set; empty: there is none
};
// In the order in which OVMS searches a version folder.
constexpr std::array<Format, 5> kFormats = {{
    {".xml", ".bin"},
    {".onnx", ""},
    {".pdmodel", ".pdiparams"},
    {".pb", ""},
    {".tflite", ""},
}};

Status SystemError(const fs::path& path, const std::error_code& error) {
  const StatusCode code = error == std::errc::permission_denied ? StatusCode::kPermissionDenied : StatusCode::kInternal;
  return Error(code, "Cannot read {}: {}", path.string(), error.message());
}

bool IsFile(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}
bool IsFolder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

StatusOr<std::vector<fs::path>> Children(const fs::path& folder) {
  std::vector<fs::path> children;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) children.push_back(it->path());
  if (error) return SystemError(folder, error);
  std::sort(children.begin(), children.end());
  return children;
}

// What the runtime is given for `file`, which is there; nothing when its companion is missing.
std::optional<std::string> ModelPath(const fs::path& file, const Format& format) {
  if (!format.companion.empty() && !IsFile(fs::path(file).replace_extension(format.companion))) return std::nullopt;
  if (file.filename() == kSavedModel) return file.parent_path().string();
  return file.string();
}

// The first complete set of model files among `files`; empty when there is none.
std::string FindModel(const std::vector<fs::path>& files) {
  for (const Format& format : kFormats) {
    for (const fs::path& file : files) {
      if (file.extension() != format.extension || !IsFile(file)) continue;
      if (auto path = ModelPath(file, format)) return *std::move(path);
    }
  }
  return {};
}

StatusOr<std::string> SingleFile(fs::path file) {
  // OVMS takes either file of a Paddle model.
  if (file.extension() == ".pdiparams") file.replace_extension(".pdmodel");
  const auto format =
      std::find_if(kFormats.begin(), kFormats.end(), [&](const Format& f) { return file.extension() == f.extension; });
  if (format == kFormats.end()) {
    return InvalidArgument(
        "Model file {} is of an unknown kind; expected one of {}, or a folder with version folders (1, 2, ...)", file.string(),
        kExtensions);
  }
  if (!IsFile(file)) return Error(StatusCode::kNotFound, "Model file {} is not there", file.string());
  auto path = ModelPath(file, *format);
  if (!path) {
    return Error(StatusCode::kNotFound, "Model file {} needs {} beside it, which is not there", file.string(),
                 fs::path(file).replace_extension(format->companion).string());
  }
  return *std::move(path);
}

// The file that the first set lacks which has one.
std::string FindMissing(const std::vector<fs::path>& files) {
  for (const Format& format : kFormats) {
    for (const fs::path& file : files) {
      if (format.companion.empty() || file.extension() != format.extension || !IsFile(file)) continue;
      return fmt::format("{} beside {}", fs::path(file).filename().replace_extension(format.companion).string(),
                         file.filename().string());
    }
  }
  return {};
}

StatusOr<std::vector<VersionFiles>> ListFolder(const fs::path& base) {
  SY_ASSIGN_OR_RETURN(const std::vector<fs::path> children, Children(base));
  std::vector<VersionFiles> versions;
  for (const fs::path& child : children) {
    if (!IsFolder(child)) continue;
    const std::string name = child.filename().string();
    const std::optional<int64_t> number = VersionNumber(name);
    if (!number) {
      if (name.find_first_of("0123456789") == 0) {
        LogWarning("{} is no version folder: expected a positive number without leading zeros or letters", child.string());
      }
      continue;
    }
    const auto files = Children(child);
    if (!files.ok()) LogWarning("{}", Message(files.status()));
    VersionFiles& version = versions.emplace_back(VersionFiles{.version = *number, .model_path = {}});
    if (!files.ok()) continue;
    version.model_path = FindModel(*files);
    if (version.model_path.empty()) version.missing = FindMissing(*files);
  }
  if (versions.empty()) {
    // A SavedModel is a folder by nature; the files of every other format are named by themselves.
    if (IsFile(base / kSavedModel)) return std::vector<VersionFiles>{{.version = 1, .model_path = base.string()}};
    if (const std::string model = FindModel(children); !model.empty()) {
      return Error(StatusCode::kNotFound,
                   "{} has no version folder, but {} directly in it: move its files to {}, or give the file as model_path",
                   base.string(), fs::path(model).filename().string(), (base / "1").string());
    }
  }
  std::sort(versions.begin(), versions.end(),
            [](const VersionFiles& a, const VersionFiles& b) { return a.version < b.version; });
  return versions;
}

}  // namespace

std::optional<int64_t> VersionNumber(std::string_view name) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size() || number <= 0 || name.front() == '0') return std::nullopt;
  return number;
}

StatusOr<std::vector<VersionFiles>> ListVersions(const std::string& base_path) {
  const fs::path base = base_path;
  std::error_code error;
  const fs::file_status status = fs::status(base, error);
  if (status.type() == fs::file_type::not_found) {
    return Error(StatusCode::kNotFound,
                 "Model path {} is not there; expected a folder with version folders (1, 2, ...) or a model file ({})",
                 base_path, kExtensions);
  }
  if (error) return SystemError(base, error);
  if (fs::is_directory(status)) {
    // "models/resnet/" has an empty last component, which would show up in every path made of it.
    return ListFolder(base.has_filename() ? base : base.parent_path());
  }
  SY_ASSIGN_OR_RETURN(std::string path, SingleFile(base));
  return std::vector<VersionFiles>{{.version = 1, .model_path = std::move(path)}};
}

Status NoCompleteSet(const VersionFiles& files, const std::string& base_path) {
  return Error(StatusCode::kNotFound, "the folder of version {} under {} holds no complete set of model files{}", files.version,
               base_path, files.missing.empty() ? "" : ": it lacks " + files.missing);
}

Status NoVersion(const ModelSettings& settings, const std::vector<int64_t>& there) {
  if (there.empty()) {
    return Error(StatusCode::kNotFound,
                 "no version is there: expected {}/<number>/ with a model's files, or a model file itself as base path",
                 settings.base_path);
  }
  return Error(StatusCode::kNotFound, "model_version_policy asks for {}, none of which is under {}: there are {}",
               fmt::join(settings.version_policy.versions, ", "), settings.base_path, fmt::join(there, ", "));
}

std::vector<int64_t> WantedVersions(const VersionPolicy& policy, const std::vector<int64_t>& available) {
  switch (policy.kind) {
    case VersionPolicy::Kind::kAll:
      return available;
    case VersionPolicy::Kind::kLatest: {
      const size_t count = std::min<size_t>(policy.latest_count, available.size());
      return {available.end() - static_cast<std::ptrdiff_t>(count), available.end()};
    }
    case VersionPolicy::Kind::kSpecific: {
      std::vector<int64_t> wanted;
      std::copy_if(available.begin(), available.end(), std::back_inserter(wanted), [&](int64_t version) {
        return std::find(policy.versions.begin(), policy.versions.end(), version) != policy.versions.end();
      });
      return wanted;
    }
  }
  return {};
}

}  // namespace switchyard
