#include "device/placement.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <utility>

#include "device/property_rules.h"
#include "device/property_text.h"

namespace switchyard {
namespace {

using Mode = PlacementPlan::Mode;
using Lane = CandidateState::Lane;

std::string Names(const Inventory& inventory) {
  std::vector<std::string> names;
  for (const DeviceInfo& device : inventory) names.push_back(device.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

// What AUTO and MULTI take when no list is given.
std::vector<std::string> RankedDevices(const Inventory& inventory) {
  std::vector<std::string> ranked;
  using Type = DeviceInfo::Type;
  for (const Type type : {Type::kDiscreteGpu, Type::kIntegratedGpu, Type::kCpu}) {
    for (const DeviceInfo& device : inventory) {
      if (device.type == type) ranked.push_back(device.name);
    }
  }
  return ranked;
}

// "GPU" in a list of AUTO or MULTI is every GPU, as with OpenVINO: discrete ones, then integrated ones. Each device once, at
// its first place.
std::vector<std::string> EveryGpu(const std::vector<std::string>& devices, const Inventory& inventory) {
  std::vector<std::string> result;
  const auto add = [&](const std::string& device) {
    const auto same = [&](const std::string& other) { return CanonicalDevice(other) == CanonicalDevice(device); };
    if (std::none_of(result.begin(), result.end(), same)) result.push_back(device);
  };
  for (const std::string& device : devices) {
    const size_t before = result.size();
    for (const std::string& ranked : RankedDevices(inventory)) {
      if (device == "GPU" && ranked.starts_with("GPU.")) add(ranked);
    }
    if (result.size() == before) add(device);
  }
  return result;
}

// Splits `devices` into those that are there (answer) and those that are not.
std::vector<std::string> Present(const std::vector<std::string>& devices, const Inventory& inventory,
                                 std::vector<std::string>* missing) {
  std::vector<std::string> present;
  for (const std::string& device : devices) {
    const DeviceInfo* found = Find(inventory, device);
    if (found != nullptr) {
      present.push_back(found->name);
    } else {
      // An NPU of another architecture is there under the canonical name.
      missing->push_back(Find(inventory, CanonicalDevice(device)) == nullptr ? CanonicalDevice(device) : device);
    }
  }
  return present;
}

Candidate MakeCandidate(const Target& target, const std::vector<std::string>& devices, const PropertyMap& properties) {
  Candidate candidate{.target = "", .devices = devices, .properties = properties};
  Target canonical = target;
  canonical.devices = devices;
  candidate.target = canonical.ToString();
  return candidate;
}

// plugin_config for a real device: what AUTO and MULTI read is taken out, and the hint is what one device can follow.
PropertyMap DeviceProperties(const PropertyMap& plugin_config, bool cumulative) {
  PropertyMap properties = plugin_config;
  for (const char* key :
       {"ENABLE_STARTUP_FALLBACK", "ENABLE_RUNTIME_FALLBACK", "SCHEDULE_POLICY", "MODEL_PRIORITY", "MULTI_DEVICE_PRIORITIES"}) {
    properties.erase(key);
  }
  if (cumulative) properties.insert_or_assign("PERFORMANCE_HINT", PropertyValue{std::string("THROUGHPUT")});
  return properties;
}

StatusOr<PlacementPlan::Schedule> ScheduleOf(const PropertyMap& config) {
  const std::string text = PropertyText(config, "SCHEDULE_POLICY");
  if (text.empty() || text == "DEFAULT") return PlacementPlan::Schedule::kFinishFirst;
  if (text == "DEVICE_PRIORITY") return PlacementPlan::Schedule::kDevicePriority;
  if (text == "ROUND_ROBIN") return PlacementPlan::Schedule::kRoundRobin;
  return InvalidArgument("plugin_config: SCHEDULE_POLICY is \"{}\"; expected ROUND_ROBIN or DEVICE_PRIORITY", text);
}

StatusOr<PlacementPlan::Priority> PriorityOf(const PropertyMap& config) {
  const std::string text = PropertyText(config, "MODEL_PRIORITY");
  if (text == "LOW") return PlacementPlan::Priority::kLow;
  if (text.empty() || text == "MEDIUM" || text == "DEFAULT") return PlacementPlan::Priority::kMedium;
  if (text == "HIGH") return PlacementPlan::Priority::kHigh;
  return InvalidArgument("plugin_config: MODEL_PRIORITY is \"{}\"; expected LOW, MEDIUM or HIGH", text);
}

// For devices that were named by a number, where there are others of their kind.
std::string OthersOfKind(const std::vector<std::string>& missing, const Inventory& inventory) {
  std::string text;
  for (const std::string& device : missing) {
    const size_t dot = device.find('.');
    if (dot == std::string::npos) continue;
    const std::string kind = device.substr(0, dot);
    if (const DeviceInfo* npu = kind == "NPU" ? Find(inventory, kind) : nullptr; npu && !npu->architecture.empty()) {
      text += fmt::format("; the NPU here is an NPU.{0}: write NPU or NPU.{0}", npu->architecture);
      continue;
    }
    std::vector<std::string> there;
    for (const DeviceInfo& info : inventory) {
      if (info.name == kind || info.name.starts_with(kind + ".")) there.push_back(info.name);
    }
    if (there.empty()) continue;
    const std::string one =
        fmt::format("; the {}s here: {}; {} without a number is the first of them", kind, fmt::join(there, ", "), kind);
    if (text.find(one) == std::string::npos) text += one;
  }
  return text;
}

Status NoDevice(const std::string& asked, const std::vector<std::string>& missing, const Inventory& inventory) {
  return Error(StatusCode::kNotFound, "target_device {}: there is no device {}; available: {}{}", asked,
               fmt::join(missing, ", "), Names(inventory), OthersOfKind(missing, inventory));
}

// AUTO and MULTI: every device is a candidate of its own.
Status AddSchedule(const Target& target, const ModelSettings& settings, const Inventory& inventory, PlacementPlan& plan) {
  const PropertyMap& config = settings.plugin_config;
  const std::string hint = PropertyText(config, "PERFORMANCE_HINT");
  const bool multi = target.kind == Target::Kind::kMulti;
  const bool cumulative = hint == "CUMULATIVE_THROUGHPUT" || (multi && hint.empty() && !config.contains("NUM_STREAMS"));
  plan.mode = multi || cumulative ? Mode::kAll : Mode::kFirst;
  SY_ASSIGN_OR_RETURN(plan.schedule, ScheduleOf(config));
  SY_ASSIGN_OR_RETURN(plan.priority, PriorityOf(config));
  plan.helper = plan.mode == Mode::kFirst && PropertyFlag(config, "ENABLE_STARTUP_FALLBACK", true);
  plan.retry = PropertyFlag(config, "ENABLE_RUNTIME_FALLBACK", true);

  std::vector<std::string> devices = target.devices.empty() ? RankedDevices(inventory) : EveryGpu(target.devices, inventory);
  std::erase_if(devices, [&](const std::string& device) {
    return std::any_of(target.excluded.begin(), target.excluded.end(), [&](const std::string& excluded) {
      // "-GPU" leaves out every GPU, "-GPU.1" that one.
      return CanonicalDevice(device) == CanonicalDevice(excluded) ||
             (excluded.find('.') == std::string::npos && device.substr(0, device.find('.')) == excluded);
    });
  });
  std::vector<std::string> missing;
  const std::vector<std::string> present = Present(devices, inventory, &missing);
  if (!missing.empty() && settings.strict_placement) return NoDevice(plan.asked, missing, inventory);
  for (const std::string& device : missing) {
    plan.reasons.push_back(fmt::format("{} is in the list of {}, but it is not there; available: {}{}", device, plan.asked,
                                       Names(inventory), OthersOfKind({device}, inventory)));
  }
  if (present.empty() && devices.empty())
    return Error(StatusCode::kNotFound, "target_device {} leaves no device; available: {}", plan.asked, Names(inventory));
  for (const std::string& device : present) {
    plan.candidates.push_back(MakeCandidate(Target{}, {device}, DeviceProperties(config, cumulative)));
  }
  if (present.empty() && settings.fallback_devices.empty()) return NoDevice(plan.asked, missing, inventory);
  return absl::OkStatus();
}

// One candidate for a device, HETERO or BATCH; nothing, with a reason, when its device is not there and may be missing.
Status AddOne(const Target& target, const std::string& text, const ModelSettings& settings, const Inventory& inventory,
              bool optional, bool fallback, PlacementPlan& plan) {
  std::vector<std::string> missing;
  const std::vector<std::string> present = Present(target.devices, inventory, &missing);
  const bool some = target.kind == Target::Kind::kHetero && !present.empty();
  if (!missing.empty() && (settings.strict_placement || (!some && !optional))) return NoDevice(text, missing, inventory);
  for (const std::string& device : missing) {
    plan.reasons.push_back(fmt::format("{} is part of {}, but it is not there; available: {}{}", device, text, Names(inventory),
                                       OthersOfKind({device}, inventory)));
  }
  if (!missing.empty() && !some) return absl::OkStatus();
  Candidate candidate = MakeCandidate(target, present, DeviceProperties(settings.plugin_config, false));
  candidate.fallback = fallback;
  // HETERO's own there; devices have the same key, with other values.
  if (plan.asked.starts_with("HETERO") && target.kind != Target::Kind::kHetero) {
    candidate.properties.erase("MODEL_DISTRIBUTION_POLICY");
  }
  const bool chooses = target.kind == Target::Kind::kBatch && !target.batch;
  if (chooses && !candidate.properties.contains("PERFORMANCE_HINT") && !candidate.properties.contains("NUM_STREAMS")) {
    // With LATENCY, the default elsewhere, the plugin would choose a batch of one.
    candidate.properties.emplace("PERFORMANCE_HINT", PropertyValue{std::string("THROUGHPUT")});
  }
  const bool twice = std::any_of(plan.candidates.begin(), plan.candidates.end(),
                                 [&](const Candidate& other) { return other.target == candidate.target; });
  if (!twice) plan.candidates.push_back(std::move(candidate));
  return absl::OkStatus();
}

bool IsCpu(const Candidate& candidate) { return candidate.target == "CPU"; }

bool CanServe(const CandidateState& state) { return state.usable && state.lane != Lane::kFailed; }

bool StandbyWanted(const PlacementPlan& plan) { return plan.standby.value_or(true) && plan.retry; }

// The best of `able` does; the next one stands by.
void DecideFirst(const PlacementPlan& plan, const std::vector<CandidateState>& states, const std::vector<size_t>& able,
                 PlacementDecision& decision) {
  if (able.empty()) return;
  const auto ready = [&](size_t i) { return states[i].lane == Lane::kReady; };
  const auto start = [&](size_t i) {
    if (states[i].lane == Lane::kNone) decision.compile.push_back(i);
  };
  const bool home = ready(able.front());
  const bool standby = StandbyWanted(plan);
  start(able.front());
  if (plan.helper && std::none_of(able.begin(), able.end(), ready)) {
    const auto cpu = std::find_if(able.begin() + 1, able.end(), [&](size_t i) { return IsCpu(plan.candidates[i]); });
    if (cpu != able.end()) start(*cpu);
  }
  if (home && standby && able.size() > 1) start(able[1]);
  for (size_t k = 0; k < able.size(); ++k) {
    // A helper stays until the one that shall stand by is ready.
    const bool stands_by = standby && k > 0 && (k == 1 || !ready(able[1]));
    const bool needed = k == 0 || !home || stands_by;
    if (ready(able[k]) && needed) decision.route.push_back(able[k]);
  }
  decision.helping = !decision.route.empty() && decision.route.front() != able.front();
  decision.standby = decision.route.empty() ? 0 : decision.route.size() - 1;
}

// Every one of `own` that is ready does, and the first of `fallbacks` stands by. Until one is, fallbacks that are ready serve.
void DecideAll(const PlacementPlan& plan, const std::vector<CandidateState>& states, const std::vector<size_t>& own,
               const std::vector<size_t>& fallbacks, PlacementDecision& decision) {
  const auto ready = [&](size_t i) { return states[i].lane == Lane::kReady; };
  for (const size_t i : own) {
    if (ready(i)) decision.route.push_back(i);
    if (states[i].lane == Lane::kNone) decision.compile.push_back(i);
  }
  const bool home = !decision.route.empty();
  const size_t share = std::max<size_t>(decision.route.size(), 1);
  const bool standby = home && StandbyWanted(plan) && !fallbacks.empty();
  if (standby && states[fallbacks.front()].lane == Lane::kNone) decision.compile.push_back(fallbacks.front());
  for (const size_t i : fallbacks) {
    // As a helper, another one stays until the one that shall stand by is ready.
    const bool stands_by = standby && (i == fallbacks.front() || !ready(fallbacks.front()));
    if (ready(i) && (!home || stands_by)) decision.route.push_back(i);
  }
  decision.helping = !home && !decision.route.empty();
  decision.standby = decision.route.size() - std::min(share, decision.route.size());
}

}  // namespace

StatusOr<PlacementPlan> MakePlan(const ModelSettings& given, const Inventory& inventory,
                                 const std::vector<std::string>& plugins) {
  PlacementPlan plan;
  plan.standby = given.standby;
  ModelSettings settings = given;
  settings.plugin_config = WithoutOldNames(given.plugin_config);
  ModelSettings named = settings;
  if (named.target_device.empty()) {
    named.target_device = RecommendDevice(inventory);
    if (named.target_device != "CPU")
      plan.notes.push_back(fmt::format("no target_device was named; {} is the best there is", named.target_device));
  }
  plan.asked = named.target_device;
  SY_ASSIGN_OR_RETURN(const Target target, TargetOf(named, plugins));
  const bool has_fallback = !settings.fallback_devices.empty();
  if (target.kind == Target::Kind::kAuto || target.kind == Target::Kind::kMulti) {
    SY_RETURN_IF_ERROR(AddSchedule(target, settings, inventory, plan));
  } else {
    SY_RETURN_IF_ERROR(AddOne(target, plan.asked, settings, inventory, has_fallback, false, plan));
  }
  SY_ASSIGN_OR_RETURN(const std::vector<Target> fallbacks, FallbacksOf(settings, plugins));
  for (const Target& fallback : fallbacks) {
    SY_RETURN_IF_ERROR(AddOne(fallback, "fallback " + fallback.ToString(), settings, inventory, true, true, plan));
  }
  if (plan.candidates.empty()) {
    return Error(StatusCode::kNotFound, "target_device {}: neither it nor any of fallback_devices is there; available: {}",
                 plan.asked, Names(inventory));
  }
  return plan;
}

void YieldToPriorities(PlacementPlan& plan, const std::vector<std::pair<std::string, PlacementPlan::Priority>>& occupied) {
  if (plan.mode != Mode::kFirst) return;
  const auto yields = [&](const Candidate& candidate) {
    return !candidate.fallback && std::any_of(occupied.begin(), occupied.end(), [&](const auto& entry) {
      return entry.second > plan.priority && entry.first == candidate.devices.front();
    });
  };
  const auto own_end = std::find_if(plan.candidates.begin(), plan.candidates.end(), [](const auto& c) { return c.fallback; });
  const std::string best = plan.candidates.front().target;
  std::stable_partition(plan.candidates.begin(), own_end, [&](const Candidate& candidate) { return !yields(candidate); });
  if (plan.candidates.front().target != best) {
    plan.reasons.push_back(
        fmt::format("{} serves a model of higher MODEL_PRIORITY; {} comes first", best, plan.candidates.front().target));
  }
}

PlacementDecision Decide(const PlacementPlan& plan, const std::vector<CandidateState>& states) {
  PlacementDecision decision;
  std::vector<size_t> able;
  std::vector<size_t> fallbacks;
  for (size_t i = 0; i < states.size(); ++i) {
    if (!CanServe(states[i])) continue;
    (plan.mode == Mode::kAll && plan.candidates[i].fallback ? fallbacks : able).push_back(i);
  }
  if (plan.mode == Mode::kFirst) {
    DecideFirst(plan, states, able, decision);
  } else if (able.empty()) {
    DecideFirst(plan, states, fallbacks, decision);
  } else {
    DecideAll(plan, states, able, fallbacks, decision);
  }
  bool compiling = !decision.compile.empty();
  for (size_t i = 0; i < states.size(); ++i) {
    compiling = compiling || (states[i].usable && states[i].lane == Lane::kCompiling);
    if (states[i].lane != Lane::kReady || !states[i].usable) continue;
    if (std::find(decision.route.begin(), decision.route.end(), i) == decision.route.end()) decision.release.push_back(i);
  }
  decision.hopeless = decision.route.empty() && !compiling;
  return decision;
}

}  // namespace switchyard
