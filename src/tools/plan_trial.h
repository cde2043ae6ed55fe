// What a server would make of one model's settings on this machine: the plan, and each of its candidates loaded once.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "config/settings.h"
#include "repository/source.h"
#include "runtime/model_graph.h"
#include "runtime/runtime.h"
#include "serving/placement_report.h"

namespace switchyard {

// What the first of the targets that serve makes of the model's graph.
struct PlanGraph {
  std::string target;
  ModelGraph graph;
};

// The highest version of the model that is wanted, on this machine's disk. The error is the one that a server would give.
StatusOr<VersionFiles> PickVersion(const ModelSettings& model);

// `settings` have one model; of its versions the highest that is wanted is taken. Candidates are loaded one after another and
// freed at once; what serves, stands by or is not needed is told as if the devices were all well. `progress` is told in words
// what is being done. The error is the one that a server would give for the model: no version, no such device, a faulty
// property, a warning under --strict, or, when no candidate loads, why. `graph`, unless null, is filled in as well. A load that
// takes longer than load_timeout_ms is a failed one, and goes on with `runtime` on a thread that nobody waits for.
StatusOr<PlacementReport> TryPlan(const ServerSettings& settings, Runtime& runtime,
                                  const std::function<void(const std::string&)>& progress, PlanGraph* graph = nullptr);

// An aligned table with one line for each candidate, and the reasons under it.
std::string PlanText(const PlacementReport& report);

}  // namespace switchyard
