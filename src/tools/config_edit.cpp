#include "tools/config_edit.h"

#include <fcntl.h>
#include <rapidjson/document.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/environment.h"
#include "base/log.h"
#include "base/whole_file.h"
#include "config/command_line.h"
#include "config/config_reading.h"
#include "config/device_values.h"
#include "config/flags.h"
#include "config/json_text.h"
#include "config/text.h"
#include "control/config_check.h"
#include "repository/source.h"
#include "tools/entry_flags.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using rapidjson::Document;
using rapidjson::Value;

constexpr std::string_view kModes[] = {"list_models", "add_to_config", "remove_from_config"};
constexpr const char* kRepositoryVariable = "OVMS_MODEL_REPOSITORY_PATH";

Status UsageError(std::string message) { return InvalidArgument("{}", message); }
Status Failed(std::string message) { return Error(StatusCode::kFailedPrecondition, "{}", message); }

std::string_view FlagOf(std::string_view argument) {
  return argument.starts_with("--") ? argument.substr(2, argument.find('=') - 2) : std::string_view();
}

bool IsMode(std::string_view flag) { return std::find(std::begin(kModes), std::end(kModes), flag) != std::end(kModes); }

std::string SystemText() { return std::error_code(errno, std::generic_category()).message(); }

std::string Repository(const GivenFlags& flags) {
  if (flags.Has("model_repository_path")) return flags.Get("model_repository_path");
  return EnvironmentValue(kRepositoryVariable);
}

// Folders that hold a version folder with a complete set of files, by their paths below `root`. Links are followed, once.
void FindModels(const fs::path& root, const fs::path& folder, int depth, std::set<fs::path>* seen,
                std::set<std::string>* found) {
  constexpr int kDeepest = 32;
  std::error_code error;
  const fs::path real = fs::canonical(folder, error);
  if (error || depth > kDeepest || !seen->insert(real).second) return;
  if (folder != root) {
    const auto versions = ListVersions(folder.string());
    const auto whole = [](const VersionFiles& files) { return !files.model_path.empty(); };
    if (versions.ok() && std::any_of(versions->begin(), versions->end(), whole)) {
      found->insert(folder.lexically_relative(root).string());
      return;
    }
  }
  for (fs::directory_iterator it(folder, fs::directory_options::skip_permission_denied, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored)) FindModels(root, it->path(), depth + 1, seen, found);
  }
}

Status ListModels(const GivenFlags& flags) {
  const std::string repository = Repository(flags);
  if (repository.empty()) {
    return UsageError(
        fmt::format("--list_models: expected --model_repository_path, or {} in the environment", kRepositoryVariable));
  }
  std::error_code error;
  if (!fs::is_directory(repository, error)) {
    return Failed(fmt::format("--model_repository_path: expected a folder, and {} is none", Quote(repository)));
  }
  std::set<fs::path> seen;
  std::set<std::string> found;
  FindModels(repository, repository, 0, &seen, &found);
  std::fprintf(stderr, "Models in %s:\n", repository.c_str());
  for (const std::string& name : found) std::printf("%s\n", name.c_str());
  return absl::OkStatus();
}

// One edit of a file at a time, and the new text whole or not at all.
class EditedFile {
 public:
  EditedFile() = default;
  EditedFile(const EditedFile&) = delete;
  EditedFile& operator=(const EditedFile&) = delete;
  ~EditedFile() {
    if (folder_ >= 0) close(folder_);
  }

  Status Open(const std::string& path) {
    std::error_code error;
    // What a link names is replaced, not the link.
    path_ = fs::weakly_canonical(fs::absolute(path, error), error);
    if (error) return Failed(fmt::format("--config_path {}: {}", Quote(path), error.message()));
    if (fs::is_directory(path_, error))
      return Failed(fmt::format("--config_path: expected a file, and {} is a folder", Quote(path)));
    folder_ = open(path_.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_ < 0) return Failed(fmt::format("the folder of {} cannot be opened: {}", Quote(path_.string()), SystemText()));
    if (flock(folder_, LOCK_EX) != 0)
      return Failed(fmt::format("the folder of {} cannot be locked: {}", Quote(path_.string()), SystemText()));
    return absl::OkStatus();
  }

  Status Write(std::string_view text) const {
    const int error = WriteWholeFile(path_.string(), text, {.keep_mode = true, .sync = true});
    if (error == 0) return absl::OkStatus();
    return Failed(fmt::format("{} cannot be written, and is as it was: {}", Quote(path_.string()),
                              std::generic_category().message(error)));
  }

  const fs::path& path() const { return path_; }
  std::string folder() const { return path_.parent_path().string(); }

 private:
  fs::path path_;
  int folder_ = -1;
};

StatusOr<std::string> BasePath(const GivenFlags& flags) {
  std::string path;
  if (flags.Has("model_path")) {
    path = flags.Get("model_path");
  } else if (const std::string repository = Repository(flags); !repository.empty()) {
    path = (fs::path(repository) / flags.Get("model_name")).string();
  } else {
    return UsageError("--add_to_config: expected --model_path, or --model_repository_path with the model's folder in it");
  }
  // A relative path would be taken from the file's folder by the server.
  std::error_code error;
  if (path.find("://") == path.npos) path = fs::absolute(path, error).lexically_normal().string();
  return path;
}

const Value* FindEntry(const Document& file, const std::string& name) {
  for (const Value& element : file["model_config_list"].GetArray()) {
    const auto config = element.FindMember("config");
    if (config == element.MemberEnd() || !config->value.IsObject()) continue;
    const auto found = config->value.FindMember("name");
    if (found != config->value.MemberEnd() && found->value.IsString() && Text(found->value) == name) return &element;
  }
  return nullptr;
}

std::string Pretty(const Document& file) {
  rapidjson::StringBuffer buffer;
  rapidjson::PrettyWriter<rapidjson::StringBuffer> writer(buffer);
  file.Accept(writer);
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

Status Refused(const std::vector<ConfigFault>& faults) {
  return Failed(fmt::format("a server would refuse what is to be written, and nothing was: {}", ToText(faults)));
}

class Editor {
 public:
  Editor(const GivenFlags& flags, ConfigEditRuntimeFactory& make_runtime, const ReadRecorded& read_recorded)
      : flags_(flags), make_runtime_(make_runtime), read_recorded_(read_recorded) {}

  Status Add() {
    SY_ASSIGN_OR_RETURN(const std::string base_path, BasePath(flags_));
    SY_RETURN_IF_ERROR(Read(/*must_exist=*/false));
    const std::string& name = flags_.Get("model_name");
    if (FindEntry(file_, name) != nullptr) {
      return Failed(fmt::format("the name {} is occupied by an entry of {}; remove that first, or give another name",
                                Quote(name), Quote(edited_.path().string())));
    }
    auto& memory = file_.GetAllocator();
    Value entry(rapidjson::kObjectType);
    entry.AddMember("name", Value(name.c_str(), memory), memory);
    entry.AddMember("base_path", Value(base_path.c_str(), memory), memory);
    SY_RETURN_IF_ERROR(AddEntryFlags(flags_, memory, &entry));
    Value element(rapidjson::kObjectType);
    element.AddMember("config", entry, memory);
    file_["model_config_list"].PushBack(element, memory);
    return CheckAndWrite(/*added=*/true);
  }

  Status Remove() {
    SY_RETURN_IF_ERROR(Read(/*must_exist=*/true));
    const std::string& name = flags_.Get("model_name");
    const Value* const entry = FindEntry(file_, name);
    if (entry == nullptr) {
      return Failed(fmt::format("{} has no entry with the name {}", Quote(edited_.path().string()), Quote(name)));
    }
    file_["model_config_list"].Erase(entry);
    return CheckAndWrite(/*added=*/false);
  }

 private:
  Status Read(bool must_exist) {
    std::string path = flags_.Has("config_path") ? flags_.Get("config_path") : "";
    if (path.empty() && !Repository(flags_).empty()) path = (fs::path(Repository(flags_)) / "config.json").string();
    if (path.empty()) return UsageError("expected --config_path, the file to change");
    SY_RETURN_IF_ERROR(edited_.Open(path));
    std::error_code error;
    if (!must_exist && !fs::exists(edited_.path(), error)) {
      file_.Parse(R"({"model_config_list": []})");
      return absl::OkStatus();
    }
    const auto text = ReadConfigText(edited_.path().string());
    if (!text.ok()) return Failed(std::string(Message(text.status())));
    if (const Status parsed = ParseJsonText(*text, &file_); !parsed.ok()) {
      return Failed(fmt::format("{}: {}", Quote(edited_.path().string()), Message(parsed)));
    }
    const bool listed = file_.IsObject() && file_.HasMember("model_config_list") && file_["model_config_list"].IsArray() &&
                        std::all_of(file_["model_config_list"].Begin(), file_["model_config_list"].End(),
                                    [](const Value& element) { return element.IsObject(); });
    if (!listed) return Failed(fmt::format("{}: expected an object with a model_config_list", Quote(edited_.path().string())));
    return absl::OkStatus();
  }

  Status CheckAndWrite(bool added) {
    const std::string text = Pretty(file_);
    ConfigReading reading = ReadWholeConfig(text, edited_.folder());
    if (!reading.faults.empty()) return Refused(reading.faults);
    if (added) {
      // The libraries that the server is to be given as well.
      ServerSettings settings;
      for (const std::string& plugin : flags_.All("device_plugin")) {
        SY_RETURN_IF_ERROR(Annotate(AddDevicePlugin(plugin, &settings.device_plugins), "--device_plugin"));
      }
      for (const auto& [name, plugin] : reading.file.server.device_plugins) settings.device_plugins.emplace_back(name, plugin);
      if (flags_.Has("cpu_extension")) settings.cpu_extension = flags_.Get("cpu_extension");
      if (flags_.Has("tokenizers_extension")) settings.tokenizers_extension = flags_.Get("tokenizers_extension");
      SY_ASSIGN_OR_RETURN(const std::unique_ptr<Runtime> runtime, make_runtime_(settings));
      CheckEnvironment environment{.runtime = *runtime,
                                   .inventory = runtime->Devices(kListLimit).found,
                                   .device_plugins = {},
                                   .read_models = true,
                                   .read_recorded = read_recorded_};
      for (const auto& [name, path] : settings.device_plugins) environment.device_plugins.push_back(name);
      CheckModel(reading.models.back(), environment, &reading.faults);
      if (!reading.faults.empty()) return Refused(reading.faults);
    }
    SY_RETURN_IF_ERROR(edited_.Write(text));
    std::printf("%s: model %s was %s\n", edited_.path().c_str(), flags_.Get("model_name").c_str(), added ? "added" : "removed");
    return absl::OkStatus();
  }

  const GivenFlags& flags_;
  ConfigEditRuntimeFactory& make_runtime_;
  const ReadRecorded& read_recorded_;
  EditedFile edited_;
  Document file_;
};

// Older releases gave the file, or its folder, as the value of the mode's own flag.
std::vector<std::string> Normalised(int argc, const char* const* argv) {
  std::vector<std::string> arguments = {argv[0]};
  const auto add_path = [&](std::string_view path) {
    std::error_code error;
    const bool folder = fs::is_directory(path, error);
    arguments.push_back("--config_path");
    arguments.push_back(folder ? (fs::path(path) / "config.json").string() : std::string(path));
  };
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const std::string_view flag = FlagOf(argument);
    if (flag != "add_to_config" && flag != "remove_from_config") {
      arguments.emplace_back(argument);
      continue;
    }
    arguments.push_back("--" + std::string(flag));
    std::string_view value = argument.find('=') == argument.npos ? std::string_view() : argument.substr(argument.find('=') + 1);
    if (value.empty() && i + 1 < argc && std::string_view(argv[i + 1]).rfind("--", 0) != 0) value = argv[++i];
    if (!value.empty() && value != "true" && value != "false") add_path(value);
  }
  return arguments;
}

Status CheckCompanions(const GivenFlags& flags, std::string_view mode) {
  for (const std::string_view other : kModes) {
    if (other != mode && flags.Has(std::string(other)))
      return UsageError(fmt::format("--{} cannot be used with --{}", mode, other));
  }
  if (mode != "list_models" && !flags.Has("model_name")) return UsageError(fmt::format("--{}: expected --model_name", mode));
  const auto allowed = [&](std::string_view name) {
    if (name == mode || name == "model_repository_path" || name == "log_level") return true;
    if (mode == "list_models") return false;
    if (name == "model_name" || name == "config_path") return true;
    if (mode == "remove_from_config") return false;
    return name == "model_path" || name == "cpu_extension" || name == "device_plugin" || name == "tokenizers_extension" ||
           IsEntryFlag(name);
  };
  if (!flags.unserved().empty()) return UsageError(fmt::format("--{} cannot be used with --{}", mode, flags.unserved()));
  for (const FlagGroup& group : FlagGroups()) {
    for (const FlagSpec& flag : group.flags) {
      if (flags.Has(std::string(flag.name)) && !allowed(flag.name)) {
        return UsageError(fmt::format("--{} cannot be used with --{}", mode, flag.name));
      }
    }
  }
  return absl::OkStatus();
}

Status Run(const std::vector<std::string>& arguments, ConfigEditRuntimeFactory& make_runtime,
           const ReadRecorded& read_recorded) {
  std::vector<const char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(argument.c_str());
  SY_ASSIGN_OR_RETURN(const GivenFlags flags, GivenFlags::Parse(static_cast<int>(pointers.size()), pointers.data()));
  for (const std::string_view mode : kModes) {
    if (!flags.Has(std::string(mode))) continue;
    SY_RETURN_IF_ERROR(CheckCompanions(flags, mode));
    if (mode == "list_models") return ListModels(flags);
    Editor editor(flags, make_runtime, read_recorded);
    return mode == "add_to_config" ? editor.Add() : editor.Remove();
  }
  return UsageError("expected --list_models, --add_to_config or --remove_from_config");
}

}  // namespace

bool IsConfigEdit(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    if (FlagOf(argv[i]) == "help" || std::string_view(argv[i]) == "-h") return false;
  }
  return std::any_of(argv + std::min(argc, 1), argv + argc, [](const char* argument) { return IsMode(FlagOf(argument)); });
}

int RunConfigEdit(int argc, const char* const* argv, ConfigEditRuntimeFactory make_runtime, ReadRecorded read_recorded) {
  LogToStderr();
  const Status done = Run(Normalised(argc, argv), make_runtime, read_recorded);
  if (done.ok()) return kExitOk;
  std::fprintf(stderr, "switchyard: %s\n", std::string(Message(done)).c_str());
  return done.code() == StatusCode::kInvalidArgument ? kExitUsage : kExitFailure;
}

}  // namespace switchyard
