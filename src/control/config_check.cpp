#include "control/config_check.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "config/cloud_url.h"
#include "config/setting_mark.h"
#include "config/text.h"
#include "device/placement.h"
#include "device/property_rules.h"
#include "repository/cloud/mirror.h"
#include "repository/files_state.h"
#include "repository/source.h"
#include "serving/decode_options.h"
#include "serving/lane_maker.h"

namespace switchyard {
namespace {

class ModelJudge {
 public:
  ModelJudge(const CheckedModel& model, const CheckEnvironment& environment, std::vector<ConfigFault>* faults)
      : model_(model), settings_(model.settings), environment_(environment), faults_(*faults) {}

  void Judge() {
    if (IsFaulty("")) return;
    if (!IsFaulty("base_path") && !IsFaulty("name")) JudgeFiles();
    if (!IsFaulty("warmup")) {
      JudgeWarmUp();
      if (environment_.read_models && !warm_up_fault_) ReadWarmUp();
    }
    // What can be told of values without their devices is told in any case: a fault must not hide another.
    if (!IsFaulty("target_device") && !IsFaulty("fallback_devices")) {
      JudgeDevices();
    } else if (!IsFaulty("plugin_config")) {
      JudgeValues();
    }
    if (environment_.read_models && model_.faulty_keys.empty() && plan_ && !device_fault_) ReadModels();
  }

 private:
  bool IsFaulty(const std::string& key) const { return model_.faulty_keys.count(key) != 0; }
  void Add(std::string_view key, std::string expected, std::string got) {
    faults_.push_back({PointerTo(model_.pointer, key), std::move(expected), std::move(got)});
  }

  // What is in cloud storage is listed, not fetched: its files are judged when they are here.
  StatusOr<std::vector<VersionFiles>> Versions() const {
    if (!IsCloudUrl(settings_.base_path)) return ListVersions(settings_.base_path);
    const auto deadline = environment_.storage_deadline.value_or(std::chrono::steady_clock::now() + kLongestListing);
    SY_ASSIGN_OR_RETURN(const std::vector<int64_t> versions,
                        ListCloudVersions(settings_.base_path, environment_.cancelled, deadline));
    std::vector<VersionFiles> found;
    for (const int64_t version : versions) found.push_back({.version = version, .model_path = {}});
    return found;
  }

  void JudgeFiles() {
    const bool cloud = IsCloudUrl(settings_.base_path);
    const auto found = Versions();
    if (cloud && found.status().code() == StatusCode::kCancelled) return;
    if (cloud && found.status().code() == StatusCode::kUnavailable) {
      // A storage that does not answer now is no fault of the settings: the load is tried again.
      return LogWarning("Model {}: {} is not checked: {}", settings_.name, settings_.base_path, Message(found.status()));
    }
    if (!found.ok()) {
      return Add("base_path", "a folder of version folders (1/, 2/, ...), or a model file",
                 fmt::format("{}: {}", Quote(settings_.base_path), Message(found.status())));
    }
    // What a server takes now: it leaves out a version that is not whole yet. What is in cloud storage is not seen so closely.
    std::vector<int64_t> there, takeable;
    for (const VersionFiles& files : *found) {
      there.push_back(files.version);
      if (cloud || (!files.model_path.empty() && !IsMarkedIncomplete(files))) takeable.push_back(files.version);
    }
    if (takeable.empty() && !there.empty()) return AddIncomplete(found->back());
    if (there.empty()) {
      return Add("base_path", "a folder of version folders (1/, 2/, ...) with a model's files, or a model file",
                 fmt::format("{}, in which no version is", Quote(settings_.base_path)));
    }
    const auto wanted_of = [this](const std::vector<int64_t>& versions) {
      return IsFaulty("model_version_policy") ? versions : WantedVersions(settings_.version_policy, versions);
    };
    const std::vector<int64_t> wanted = wanted_of(takeable), if_whole = wanted_of(there);
    if (wanted.empty()) {
      return Add("model_version_policy", fmt::format("a version that is there: {}", fmt::join(there, ", ")),
                 fmt::format("{}", fmt::join(settings_.version_policy.versions, ", ")));
    }
    const auto has = [](const std::vector<int64_t>& list, int64_t version) {
      return std::find(list.begin(), list.end(), version) != list.end();
    };
    for (const VersionFiles& files : *found) {
      if (!files.model_path.empty() && has(wanted, files.version)) whole_.push_back(files);
      const bool incomplete = !has(takeable, files.version) && has(if_whole, files.version);
      if (incomplete && environment_.read_models) AddIncomplete(files);
    }
    if (IsFaulty("labels") || environment_.as_before) return;
    for (const auto& [label, version] : settings_.labels) {
      if (has(wanted, version)) continue;
      faults_.push_back(
          {PointerTo(PointerTo(model_.pointer, "labels"), label),
           fmt::format("a version that is there and that model_version_policy serves: {}", fmt::join(wanted, ", ")),
           std::to_string(version)});
    }
  }

  // Of an entry that is served already nothing is asked for: what is loaded goes on while its files are being exchanged.
  bool IsMarkedIncomplete(const VersionFiles& files) const {
    return !environment_.as_before && ReadFilesState(settings_.base_path, files.model_path).marked_incomplete;
  }

  void AddIncomplete(const VersionFiles& files) {
    const std::string folder = Quote(fmt::format("{}/{}", settings_.base_path, files.version));
    Add("base_path", fmt::format("a complete set of model files in the folder of version {}", files.version),
        !files.model_path.empty() ? fmt::format("{}, which is marked {}", folder, kIncompleteMark)
                                  : fmt::format("{} without {}", folder, files.missing.empty() ? "one" : files.missing));
  }

  void JudgeWarmUp() {
    const std::string& file = settings_.warm_up.file;
    std::error_code error;
    if (file.empty() || std::filesystem::is_regular_file(file, error)) return;
    AddWarmUpFault("a file of recorded requests that is there",
                   error ? fmt::format("{}: {}", Quote(file), error.message()) : Quote(file) + ", which is no file");
  }

  void AddWarmUpFault(std::string expected, std::string got) {
    warm_up_fault_ = true;
    faults_.push_back({PointerTo(PointerTo(model_.pointer, "warmup"), "file"), std::move(expected), std::move(got)});
  }

  // What can be told of it without the model, which may not be there to be read.
  void ReadWarmUp() {
    const std::string& file = settings_.warm_up.file;
    if (file.empty() || file.ends_with(".npy") || !environment_.read_recorded) return;
    const auto recorded = environment_.read_recorded(file, {});
    if (recorded.ok()) return;
    ConfigFault fault = FaultAt("", Message(recorded.status()), Quote(file));
    AddWarmUpFault(std::move(fault.expected), std::move(fault.got));
  }

  void FitWarmUp(const Signature& signature, int64_t version) {
    const std::string& file = settings_.warm_up.file;
    if (file.empty() || warm_up_fault_ || !environment_.read_recorded) return;
    const ReadRecorded decode = DecodeRecorded(environment_.read_recorded, settings_, DecodeOptions().max_image_pixels);
    const auto calls = RecordedCalls(file, decode, signature);
    if (!calls.ok()) {
      AddWarmUpFault(fmt::format("recorded requests that the model takes (version {})", version),
                     std::string(Message(calls.status())));
    }
  }

  void AddDeviceFault(const Status& fault) {
    device_fault_ = true;
    std::string_view message = Message(fault);
    std::string_view key = "target_device";
    for (const std::string_view other : {"fallback_devices", "plugin_config"}) {
      if (message.starts_with(other)) key = other;
    }
    if (message.starts_with(std::string(key) + ": ")) message.remove_prefix(key.size() + 2);
    AddFault(PointerTo(model_.pointer, key), message, key);
  }

  // Where the message does not say what was expected, it says what is wrong.
  void AddFault(std::string pointer, std::string_view message, std::string_view key) {
    if (message.find("expected ") != message.npos && message.find(" got ") != message.npos) {
      const std::string asked =
          key == "target_device" ? settings_.target_device : fmt::format("{}", fmt::join(settings_.fallback_devices, ";"));
      faults_.push_back(FaultAt(std::move(pointer), message, Quote(asked)));
    } else {
      faults_.push_back({std::move(pointer),
                         key == "plugin_config" ? "properties that the target takes" : "devices that are there",
                         std::string(message)});
    }
  }

  using Check = std::function<Status(const PropertyMap&)>;

  void AddPropertyFaults(const std::vector<std::string>& devices, const Status& of_all) {
    const std::string place = PointerTo(model_.pointer, "plugin_config");
    const size_t before = faults_.size();
    AddFaultyProperties(settings_.plugin_config, place, [&](const PropertyMap& some) {
      return environment_.runtime.CheckProperties(plan_->asked, devices, some).status();
    });
    if (faults_.size() == before) AddFault(place, WithoutKey(Message(of_all)), "plugin_config");
    device_fault_ = true;
  }

  // Each faulty property alone, those of a device under DEVICE_PROPERTIES too, where there are not too many: some take a child
  // process, and with it a moment, to judge.
  void AddFaultyProperties(const PropertyMap& properties, const std::string& place, const Check& check) {
    constexpr size_t kMostAlone = 64;
    if (properties.size() > kMostAlone) return;
    for (const auto& [key, value] : properties) {
      const Status alone = check({{key, value}});
      if (alone.ok()) continue;
      const size_t before = faults_.size();
      // Of a device that is itself the fault its properties are none.
      const auto* below = std::get_if<PropertyMap>(&value.value);
      if (below != nullptr && check({{key, PropertyValue{PropertyMap{}}}}).ok()) {
        AddFaultyProperties(*below, PointerTo(place, key), [&, name = key](const PropertyMap& some) {
          return check({{name, PropertyValue{some}}});
        });
      }
      if (faults_.size() == before) AddFault(PointerTo(place, key), WithoutKey(Message(alone)), "plugin_config");
    }
  }
  static std::string_view WithoutKey(std::string_view message) {
    constexpr std::string_view kKey = "plugin_config: ";
    return message.starts_with(kKey) ? message.substr(kKey.size()) : message;
  }

  // Whether one of them is faulty whatever the device.
  bool JudgeValues() {
    const size_t before = faults_.size();
    for (const auto& [key, value] : settings_.plugin_config) {
      const PropertyVerdict judged = JudgeProperty(key, value);
      if (judged.verdict != Verdict::kBad) continue;
      AddFault(PointerTo(PointerTo(model_.pointer, "plugin_config"), key), judged.message, "plugin_config");
    }
    return faults_.size() > before;
  }

  void JudgeDevices() {
    auto plan = MakePlan(settings_, environment_.inventory, environment_.device_plugins);
    if (environment_.as_before && plan.status().code() == StatusCode::kNotFound) return;
    if (!plan.ok()) {
      const bool told = !IsFaulty("plugin_config") && JudgeValues();
      if (!told || !Message(plan.status()).starts_with("plugin_config")) AddDeviceFault(plan.status());
      return;
    }
    plan_ = *std::move(plan);
    if (IsFaulty("plugin_config")) return;
    std::vector<std::string> devices;
    for (const Candidate& candidate : plan_->candidates) {
      for (const std::string& device : candidate.devices) {
        if (std::find(devices.begin(), devices.end(), device) == devices.end()) devices.push_back(device);
      }
    }
    const auto notes = environment_.runtime.CheckProperties(plan_->asked, devices, settings_.plugin_config);
    if (!notes.ok()) return AddPropertyFaults(devices, notes.status());
    if (!environment_.strict) return;
    for (const std::string& note : *notes) Add("plugin_config", "no warning, because of --strict", note);
    for (const std::string& reason : plan_->reasons) Add("target_device", "no warning, because of --strict", reason);
  }

  void ReadModels() {
    for (const VersionFiles& files : whole_) {
      const Candidate& best = plan_->candidates.front();
      const LoadRequest request{.settings = settings_,
                                .version = files.version,
                                .model_path = files.model_path,
                                .target = best.target,
                                .properties = best.properties};
      const auto graph = environment_.runtime.Graph(request);
      Status judged = graph.ok() ? CheckState(settings_, KeepsState(*graph), /*batch_size=*/1, best.target) : graph.status();
      // A start would go on to the next candidate where memory is all that lacks.
      const bool goes_on =
          plan_->candidates.size() > 1 && graph.ok() && graph->load_refusal.code() == StatusCode::kResourceExhausted;
      if (judged.ok() && !goes_on) judged = graph->load_refusal;
      if (judged.ok()) {
        FitWarmUp(graph->signature, files.version);
        continue;
      }
      const std::string key = SettingOf(judged);
      faults_.push_back(
          {PointerTo(model_.pointer, key.empty() ? "base_path" : key),
           fmt::format("a model that can be read and takes the settings of its entry (version {})", files.version),
           std::string(Message(judged))});
    }
  }

  const CheckedModel& model_;
  const ModelSettings& settings_;
  const CheckEnvironment& environment_;
  std::vector<ConfigFault>& faults_;
  std::vector<VersionFiles> whole_;
  std::optional<PlacementPlan> plan_;
  bool device_fault_ = false;
  bool warm_up_fault_ = false;
};

}  // namespace

void CheckModel(const CheckedModel& model, const CheckEnvironment& environment, std::vector<ConfigFault>* faults) {
  ModelJudge(model, environment, faults).Judge();
}

}  // namespace switchyard
