#include "runtime/openvino/property_check.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <openvino/runtime/properties.hpp>
#include <utility>

#include "device/property_rules.h"
#include "device/target.h"
#include "runtime/openvino/child_protocol.h"
#include "runtime/openvino/properties.h"

namespace switchyard {
namespace {

// A key that differs by this from a known one is misspelt, though it might be one of a device that is not there.
constexpr size_t kMisspelt = 1;

bool IsVirtual(const std::string& name) { return name == "AUTO" || name == "MULTI" || name == "HETERO" || name == "BATCH"; }

void AddOnce(std::vector<std::string>& list, const std::string& text) {
  if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
}

// What the target means beside the devices that it may run on: they are not there.
struct MissingDevices {
  std::vector<std::string> devices;
  bool every_gpu = false;  // AUTO and MULTI without a list mean every GPU as well
};
MissingDevices MissingOf(const std::string& target, const std::vector<std::string>& devices) {
  MissingDevices missing;
  const auto parsed = ParseTarget(target, devices);
  if (!parsed.ok()) return missing;
  const auto is_gpu = [](const std::string& device) { return device == "GPU" || device.starts_with("GPU."); };
  const bool some_gpu = std::ranges::any_of(devices, is_gpu);
  for (const std::string& named : parsed->devices) {
    const std::string device = CanonicalDevice(named);
    const bool any = named == "GPU" && some_gpu;  // in a list of AUTO it is every one of them
    if (!any && std::ranges::find(devices, device) == devices.end()) AddOnce(missing.devices, device);
  }
  const bool schedules = parsed->kind == Target::Kind::kAuto || parsed->kind == Target::Kind::kMulti;
  missing.every_gpu =
      schedules && parsed->devices.empty() && !some_gpu && std::ranges::find(parsed->excluded, "GPU") == parsed->excluded.end();
  return missing;
}

}  // namespace

// The devices that a key is judged against.
struct PropertyChecker::Scope {
  std::string name;                                          // for messages: the target, or one device
  std::map<std::string, std::map<std::string, bool>> there;  // devices and what they tell
  std::map<std::string, bool> virtual_told;                  // what AUTO and the like tell
  std::vector<std::string> absent;
  std::set<std::string> known;
  bool named = true;    // the absent ones are in the target's text
  std::string divider;  // HETERO over those that are there, for keys of its own; empty: none

  void Add(const std::string& device, const std::map<std::string, bool>& told) {
    for (const auto& [key, settable] : told) known.insert(key);
    there[device] = told;
  }
  void AddVirtual(ov::Core& core, const std::string& kind) {
    virtual_told = ToldProperties(core, kind);
    for (const auto& [key, settable] : virtual_told) known.insert(key);
  }
  bool Tells(const std::string& key) const {
    return virtual_told.contains(key) ||
           std::any_of(there.begin(), there.end(), [&](const auto& device) { return device.second.contains(key); });
  }
  bool Settable(const std::string& key) const {
    const auto settable = [&](const std::map<std::string, bool>& told) {
      const auto found = told.find(key);
      return found != told.end() && found->second;
    };
    return settable(virtual_told) ||
           std::any_of(there.begin(), there.end(), [&](const auto& device) { return settable(device.second); });
  }
};

StatusOr<std::vector<std::string>> PropertyChecker::Check(ov::Core& core, const std::string& target,
                                                          const std::vector<std::string>& devices, const PropertyMap& given) {
  std::vector<std::string> notes;
  if (given.empty()) return notes;
  const PropertyMap plugin_config = WithoutOldNames(given, &notes);
  Scope scope{.name = target};
  // The missing ones are never asked: a driver that crashes or hangs when it is asked is missing for that.
  MissingDevices missing = MissingOf(target, devices);
  scope.absent = std::move(missing.devices);
  for (const std::string& device : devices) {
    const auto told = ToldProperties(core, device);
    if (CheckTarget(core, device).ok()) {
      scope.Add(device, told);
    } else {
      // It has gone since; its plugin may tell its keys all the same, and be of use for the nearest one.
      for (const auto& [key, settable] : told) scope.known.insert(key);
      scope.absent.push_back(device);
    }
  }
  if (missing.every_gpu) {
    scope.named = !scope.absent.empty();
    scope.absent.push_back("GPU");
  }
  const std::string kind = target.substr(0, target.find(':'));
  if (IsVirtual(kind)) scope.AddVirtual(core, kind);
  if (kind == "HETERO" && !scope.there.empty()) {
    std::vector<std::string> names;
    for (const auto& [device, told] : scope.there) names.push_back(device);
    scope.divider = fmt::format("HETERO:{}", fmt::join(names, ","));
  }
  for (const auto& [key, value] : plugin_config) {
    SY_RETURN_IF_ERROR(CheckKey(scope, key, value, notes));
    if (key == kDeviceProperties) {
      SY_RETURN_IF_ERROR(CheckNested(scope, std::get<PropertyMap>(value.value), notes));
    }
  }
  if (const auto warning = StreamsAndHint(plugin_config); warning.has_value()) notes.push_back(*warning);
  return notes;
}

Status PropertyChecker::CheckKey(const Scope& scope, const std::string& key, const PropertyValue& value,
                                 std::vector<std::string>& notes) {
  if (const std::string why = WhyNotSettable(key); !why.empty()) return InvalidArgument("plugin_config: {} {}", key, why);
  const PropertyVerdict verdict = JudgeProperty(key, value);
  const bool known = IsCoreProperty(key) || scope.Tells(key);
  if (!known) {
    // A GPU that nobody named excuses only what is a GPU's.
    const bool excused = !scope.absent.empty() && (scope.named || key.starts_with("GPU_") || scope.known.contains(key) ||
                                                   verdict.verdict == Verdict::kGood);
    const bool one = excused && !scope.known.contains(key);
    const std::string nearest = NearestKey(key, scope.known, one ? std::optional<size_t>(kMisspelt) : std::nullopt);
    if (!excused || (one && !nearest.empty())) {
      return InvalidArgument("plugin_config: {} has no property \"{}\"; {}", scope.name, key.substr(0, 128),
                             nearest.empty() ? "take it out" : fmt::format("did you mean {}?", nearest));
    }
    AddOnce(notes, fmt::format("plugin_config: {} is not judged, since {} is not there", key.substr(0, 128),
                               fmt::join(scope.absent, ", ")));
    return absl::OkStatus();
  }
  if (verdict.verdict == Verdict::kBad) return InvalidArgument("plugin_config: {}", verdict.message);
  if (!IsCoreProperty(key) && !scope.Settable(key)) {
    return InvalidArgument("plugin_config: {} can only be read on {}; take it out", key, scope.name);
  }
  if (verdict.verdict == Verdict::kGood) return absl::OkStatus();
  if (!scope.divider.empty() && scope.virtual_told.contains(key)) {
    return Probe(scope.divider, key, CanonicalText(key, value), notes);
  }
  for (const auto& [device, told] : scope.there) {
    if (!told.contains(key)) continue;
    SY_RETURN_IF_ERROR(Probe(device, key, CanonicalText(key, value), notes));
  }
  return absl::OkStatus();
}

Status PropertyChecker::CheckNested(const Scope& scope, const PropertyMap& by_device, std::vector<std::string>& notes) {
  for (const auto& [name, value] : by_device) {
    const auto* properties = std::get_if<PropertyMap>(&value.value);
    if (properties == nullptr) {
      return InvalidArgument("plugin_config: {}/{}: expected an object of properties, such as {{\"NUM_STREAMS\": 2}}",
                             kDeviceProperties, name);
    }
    // "GPU" stands for each of them.
    std::vector<std::string> meant;
    const auto takes = [&](const std::string& device) {
      // "GPU" alone among the absent ones is whichever AUTO would take.
      const bool any = device == "GPU" && name.starts_with("GPU.");
      if (any || name == device || CanonicalDevice(name) == device || device.starts_with(name + ".")) meant.push_back(device);
    };
    for (const auto& [device, told] : scope.there) takes(device);
    for (const std::string& device : scope.absent) takes(device);
    if (meant.empty()) {
      std::vector<std::string> names = scope.absent;
      for (const auto& [device, told] : scope.there) names.push_back(device);
      return InvalidArgument("plugin_config: {}/{}: {} does not run on \"{}\"; it runs on {}", kDeviceProperties, name,
                             scope.name, name.substr(0, 128), fmt::join(names, ", "));
    }
    Scope own{.name = name};
    for (const std::string& device : meant) {
      if (const auto found = scope.there.find(device); found != scope.there.end()) {
        own.Add(device, found->second);
      } else {
        own.absent.push_back(device);
      }
    }
    for (const auto& [key, property] : *properties) {
      if (key == kDeviceProperties) return InvalidArgument("plugin_config: {} cannot stand within itself", kDeviceProperties);
      const Status status = CheckKey(own, key, property, notes);
      if (!status.ok()) return Annotate(status, fmt::format("{}/{}", kDeviceProperties, name));
    }
  }
  return absl::OkStatus();
}

Status PropertyChecker::Probe(const std::string& device, const std::string& key, const std::string& value,
                              std::vector<std::string>& notes) {
  const auto question = std::make_tuple(device, key, value);
  {
    MutexLock lock(&mutex_);
    if (const auto found = probed_.find(question); found != probed_.end()) {
      return found->second.status;
    }
  }
  const Probed probed = AskDevice(device, key, value);
  if (!probed.note.empty()) AddOnce(notes, probed.note);
  // Not remembered: the device, or the means to ask it, may come back, and a machine may have been too busy.
  if (!probed.note.empty() || probed.too_slow) return probed.status;
  MutexLock lock(&mutex_);
  probed_.insert_or_assign(question, probed);
  return probed.status;
}

PropertyChecker::Probed PropertyChecker::AskDevice(const std::string& device, const std::string& key,
                                                   const std::string& value) const {
  const auto ask = [&](const PropertyMap& properties) {
    return AskChild(options_.child_program, "probe-properties", ToJson(ProbeRequest{options_, device, properties}),
                    options_.probe_limit);
  };
  const auto unjudged = [&](std::string_view why) {
    return Probed{absl::OkStatus(), fmt::format("plugin_config: the value of {} is not judged for {}: {}", key, device, why)};
  };
  const std::string shown = value.substr(0, 100);
  const ChildAnswer answer = ask({{key, PropertyValue{value}}});
  if (answer.kind == ChildAnswer::Kind::kNone) return unjudged(Message(answer.status));
  if (answer.kind == ChildAnswer::Kind::kAnswered) {
    if (answer.status.ok()) return {};
    if (answer.status.code() != StatusCode::kInvalidArgument) return unjudged(Message(answer.status));
    return {InvalidArgument("plugin_config: {}: {} does not take \"{}\" ({})", key, device, shown, Message(answer.status)), ""};
  }
  // It crashed or hung: by this value, or by the device itself?
  const ChildAnswer without = ask({});
  if (without.kind != ChildAnswer::Kind::kAnswered || !without.status.ok()) return unjudged(Message(without.status));
  return {InvalidArgument("plugin_config: {}: {} cannot work with \"{}\": a process that tried it ended by {}", key, device,
                          shown, Message(answer.status)),
          "", answer.status.code() == StatusCode::kDeadlineExceeded};
}

Status FindFaultyProperty(const OpenVinoOptions& options, const std::string& target, const PropertyMap& properties) {
  const auto is_faulty = [&](const PropertyMap& some, ChildAnswer& answer) {
    answer =
        AskChild(options.child_program, "probe-properties", ToJson(ProbeRequest{options, target, some}), options.probe_limit);
    return answer.kind == ChildAnswer::Kind::kEnded ||
           (answer.kind == ChildAnswer::Kind::kAnswered && answer.status.code() == StatusCode::kInvalidArgument);
  };
  PropertyMap suspects = properties;
  suspects.erase(ov::cache_dir.name());
  ChildAnswer answer;
  if (suspects.empty() || !is_faulty(suspects, answer)) return absl::OkStatus();
  // A device that ends the child whatever it is given.
  if (answer.kind == ChildAnswer::Kind::kEnded && is_faulty({}, answer)) return absl::OkStatus();
  for (const auto& [key, value] : suspects) {
    if (!is_faulty({{key, value}}, answer)) continue;
    const std::string shown =
        key == kDeviceProperties ? "the object given" : fmt::format("\"{}\"", CanonicalText(key, value).substr(0, 100));
    if (answer.kind == ChildAnswer::Kind::kEnded) {
      return InvalidArgument("plugin_config: {} cannot work with {} for {}: a process that tried it ended by {}", target, shown,
                             key, Message(answer.status));
    }
    return InvalidArgument("plugin_config: {} refuses {} for {}: {}", target, shown, key, Message(answer.status));
  }
  return absl::OkStatus();
}

}  // namespace switchyard
