#include "tools/plan_trial.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/timer.h"
#include "config/cloud_url.h"
#include "device/cpu_facts.h"
#include "device/placement.h"
#include "device/system_view.h"
#include "repository/cloud/files_identity.h"
#include "repository/source.h"
#include "serving/absent_devices.h"
#include "serving/lane_maker.h"
#include "tools/text_table.h"

namespace switchyard {
namespace {

StatusOr<PlacementPlan> Plan(const ServerSettings& settings, Runtime& runtime) {
  const ModelSettings& model = settings.models.front();
  std::vector<std::string> plugins;
  for (const auto& [name, path] : settings.device_plugins) plugins.push_back(name);
  const DeviceList devices = runtime.Devices(kListLimit);
  auto plan = MakePlan(model, devices.found, plugins);
  if (plan.status().code() == StatusCode::kNotFound) {
    return Error(StatusCode::kNotFound, "{}{}", Message(plan.status()),
                 ExplainAbsent(FindAbsentDevices(devices), model.target_device));
  }
  return plan;
}

// Adds the notes to the plan's reasons.
Status CheckProperties(const ServerSettings& settings, Runtime& runtime, PlacementPlan& plan) {
  std::vector<std::string> devices;
  for (const Candidate& candidate : plan.candidates) {
    for (const std::string& device : candidate.devices) {
      if (std::find(devices.begin(), devices.end(), device) == devices.end()) devices.push_back(device);
    }
  }
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> notes,
                      runtime.CheckProperties(plan.asked, devices, settings.models.front().plugin_config));
  plan.reasons.insert(plan.reasons.end(), notes.begin(), notes.end());
  if (settings.strict && !plan.reasons.empty()) return InvalidArgument("--strict: {}", plan.reasons.front());
  return absl::OkStatus();
}

// On a thread of its own, which is left behind where a compiler does not return in time.
StatusOr<std::shared_ptr<Lane>> MakeLaneInTime(Runtime& runtime, const std::shared_ptr<const ThreadTimer>& timer,
                                               LaneRequest request) {
  const std::chrono::milliseconds limit(request.load.settings.load_timeout_ms);
  if (limit == limit.zero()) return MakeLane(runtime, *timer, std::move(request));
  const std::string target = request.load.target;
  auto promise = std::make_shared<std::promise<StatusOr<std::shared_ptr<Lane>>>>();
  auto made = promise->get_future();
  std::thread([promise, &runtime, timer, request = std::move(request)]() mutable {
    promise->set_value(MakeLane(runtime, *timer, std::move(request)));
  }).detach();
  if (made.wait_for(limit) == std::future_status::ready) return made.get();
  return LoadedTooLate(target, limit);
}

// Loads the candidate as a server does, with as many requests, and frees it.
Status Try(const Candidate& candidate, const LoadRequest& base, Runtime& runtime,
           const std::shared_ptr<const ThreadTimer>& timer, TargetPlacement& target) {
  LaneRequest request{.load = base, .options = {}, .inline_threads = 2 * UsableProcessors()};
  request.load.target = candidate.target;
  request.load.properties = candidate.properties;
  request.options.target = candidate.target;
  request.options.device = candidate.devices.front();
  request.options.devices = candidate.devices;
  SY_ASSIGN_OR_RETURN(const std::shared_ptr<Lane> lane, MakeLaneInTime(runtime, timer, std::move(request)));
  target.facts = lane->facts();
  target.execution_devices = lane->facts().execution_devices;
  target.num_requests = lane->request_count();
  lane->Close();
  lane->Destroy();
  return absl::OkStatus();
}

// Says of each candidate whether it would serve.
void SetStates(const PlacementPlan& plan, PlacementReport& report) {
  std::vector<CandidateState> states;
  for (const TargetPlacement& target : report.targets) {
    states.push_back({target.facts ? CandidateState::Lane::kReady : CandidateState::Lane::kFailed, true});
  }
  const PlacementDecision decision = Decide(plan, states);
  for (size_t i = 0; i < report.targets.size(); ++i) {
    TargetPlacement& target = report.targets[i];
    const auto place = std::find(decision.route.begin(), decision.route.end(), i);
    const bool routed = place != decision.route.end();
    const bool serves = static_cast<size_t>(decision.route.end() - place) > decision.standby;
    target.state = !target.facts ? "failed" : serves ? "serving" : routed ? "standby" : "idle";
    if (target.facts) {
      report.reasons.insert(report.reasons.end(), target.facts->reasons.begin(), target.facts->reasons.end());
    } else {
      report.reasons.push_back(fmt::format("{} does not serve: {}", target.target, target.reason));
    }
    if (serves) {
      report.execution_devices.insert(report.execution_devices.end(), target.execution_devices.begin(),
                                      target.execution_devices.end());
    }
  }
}

StatusOr<PlanGraph> Draw(const PlacementPlan& plan, const PlacementReport& report, LoadRequest request, Runtime& runtime,
                         const std::function<void(const std::string&)>& progress) {
  const auto serving =
      std::find_if(report.targets.begin(), report.targets.end(), [](const auto& target) { return target.state == "serving"; });
  if (serving == report.targets.end()) return Error(StatusCode::kInternal, "no target serves: there is no graph to draw");
  const Candidate& candidate = plan.candidates[static_cast<size_t>(serving - report.targets.begin())];
  progress(fmt::format("drawing the graph for {}", candidate.target));
  request.target = candidate.target;
  request.properties = candidate.properties;
  SY_ASSIGN_OR_RETURN(ModelGraph graph, runtime.Graph(request));
  return PlanGraph{.target = candidate.target, .graph = std::move(graph)};
}

std::string LayersText(const LoadFacts& facts) {
  std::string text;
  for (const auto& [device, types] : facts.layers) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", device, CountLayers(types));
  }
  return text.empty() ? "-" : text;
}

}  // namespace

StatusOr<VersionFiles> PickVersion(const ModelSettings& model) {
  if (IsCloudUrl(model.base_path)) {
    return InvalidArgument("expected a local path to try a model out, got {}; copy the version here first", model.base_path);
  }
  SY_ASSIGN_OR_RETURN(const std::vector<VersionFiles> found, ListVersions(model.base_path));
  const auto of = [&found](int64_t version) {
    return *std::find_if(found.begin(), found.end(), [version](const VersionFiles& one) { return one.version == version; });
  };
  std::vector<int64_t> there, whole;
  for (const VersionFiles& files : found) {
    there.push_back(files.version);
    if (!files.model_path.empty()) whole.push_back(files.version);
  }
  // As a server does: a version that is not whole leaves the ones before it serving.
  const std::vector<int64_t> wanted = WantedVersions(model.version_policy, whole);
  if (!wanted.empty()) return of(wanted.back());
  const std::vector<int64_t> if_whole = WantedVersions(model.version_policy, there);
  return if_whole.empty() ? NoVersion(model, there) : NoCompleteSet(of(if_whole.back()), model.base_path);
}

StatusOr<PlacementReport> TryPlan(const ServerSettings& settings, Runtime& runtime,
                                  const std::function<void(const std::string&)>& progress, PlanGraph* graph) {
  const ModelSettings& model = settings.models.front();
  SY_ASSIGN_OR_RETURN(const VersionFiles files, PickVersion(model));
  progress("asking the devices");
  SY_ASSIGN_OR_RETURN(PlacementPlan plan, Plan(settings, runtime));
  SY_RETURN_IF_ERROR(CheckProperties(settings, runtime, plan));
  PlacementReport report{.target_device = plan.asked, .execution_devices = {}, .targets = {}, .reasons = plan.notes};
  report.reasons.insert(report.reasons.end(), plan.reasons.begin(), plan.reasons.end());
  const FilesState state = ReadFilesState(model.base_path, files.model_path);
  const LoadRequest base{.settings = model,
                         .version = files.version,
                         .model_path = files.model_path,
                         .files = FilesIdentity(model.base_path, files.version, files.model_path, state.files),
                         .cache_dir = settings.cache_dir};
  const auto timer = std::make_shared<const ThreadTimer>();
  Status why;
  for (const Candidate& candidate : plan.candidates) {
    progress(fmt::format("loading {} for {}", files.model_path, candidate.target));
    TargetPlacement& target =
        report.targets.emplace_back(TargetPlacement{.target = candidate.target, .device = candidate.devices.front()});
    const Status tried = Try(candidate, base, runtime, timer, target);
    if (tried.ok()) continue;
    target.reason = std::string(Message(tried));
    const Status one = plan.candidates.size() == 1 ? tried : Annotate(tried, candidate.target);
    why = why.ok() ? one : Status(why.code(), fmt::format("{}; {}", Message(why), Message(one)));
  }
  const bool any =
      std::any_of(report.targets.begin(), report.targets.end(), [](const auto& target) { return target.facts.has_value(); });
  if (!any) return why;
  SetStates(plan, report);
  if (graph != nullptr) {
    SY_ASSIGN_OR_RETURN(*graph, Draw(plan, report, base, runtime, progress));
  }
  return report;
}

std::string PlanText(const PlacementReport& report) {
  std::vector<std::vector<std::string>> rows = {
      {"TARGET", "DEVICES", "STATE", "LAYERS", "PRECISION", "STREAMS", "REQUESTS", "BATCH", "COMPILE", "CACHE", "MEMORY"}};
  for (const TargetPlacement& target : report.targets) {
    if (!target.facts) {
      rows.push_back({target.target, "-", target.state, "-", "-", "-", "-", "-", "-", "-", "-"});
      continue;
    }
    const LoadFacts& facts = *target.facts;
    rows.push_back({target.target, fmt::format("{}", fmt::join(target.execution_devices, ",")), target.state, LayersText(facts),
                    facts.precision.empty() ? "-" : facts.precision,
                    facts.num_streams ? std::to_string(*facts.num_streams) : "-", std::to_string(target.num_requests),
                    std::to_string(facts.batch_size), fmt::format("{:.0f} ms", facts.compile_ms),
                    std::string(Name(facts.cache)), BytesText(facts.memory_bytes.value_or(0))});
  }
  std::string text = fmt::format("Asked for: {}\n\n{}", report.target_device, Table(rows));
  if (!report.reasons.empty()) text += "\nReasons\n";
  for (const std::string& reason : report.reasons) text += fmt::format("  {}\n", Printable(reason));
  return text;
}

}  // namespace switchyard
