// Where a model may run: its target over the devices that are there, as an ordered list of candidates, and the decision which
// of them are compiled and which serve. Pure functions; Placer (serving/) carries them out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "device/inventory.h"
#include "device/target.h"

namespace switchyard {

// One way to run the model that the runtime can compile: a device, or HETERO or BATCH over devices.
struct Candidate {
  std::string target;                // canonical: "GPU.0", "HETERO:GPU.0,CPU", "BATCH:CPU(16)"
  std::vector<std::string> devices;  // canonical names; for HETERO in the order of their priority
  PropertyMap properties;            // plugin_config for this target
  bool fallback = false;             // of fallback_devices: serves only when none of the target's own can
};

struct PlacementPlan {
  // kFirst: one serves, the best that can. kAll: all of the target's own at once (CUMULATIVE_THROUGHPUT, MULTI).
  enum class Mode { kFirst, kAll };
  // Among several that serve at once: the one that will finish first, the first with room, or in turns.
  enum class Schedule { kFinishFirst, kDevicePriority, kRoundRobin };
  enum class Priority { kLow, kMedium, kHigh };

  std::string asked;  // as the user wrote it; "GPU.0" and the like when nothing was written
  Mode mode = Mode::kFirst;
  Schedule schedule = Schedule::kFinishFirst;
  Priority priority = Priority::kMedium;
  std::vector<Candidate> candidates;  // best first; at least one
  bool helper = false;                // AUTO: the CPU serves while a better device compiles
  bool retry = true;                  // a call that a device failed goes to the next one
  std::optional<bool> standby;
  std::vector<std::string> reasons;  // sentences: what differs from what was asked for
  std::vector<std::string> notes;    // sentences that explain, and warn of nothing
};

// The candidates of `settings` on the devices of `inventory`. `plugins` are the names of registered device plugins. Devices of
// a list that are not there are left out with a reason. Errors: InvalidArgument for a faulty target, NotFound when no device
// that was asked for is there, or, with strict_placement, one of them; the message names the device, what is there, and the
// fallback. AUTO without a list is every discrete GPU, then every integrated one, then the CPU, as OpenVINO ranks them.
StatusOr<PlacementPlan> MakePlan(const ModelSettings& settings, const Inventory& inventory,
                                 const std::vector<std::string>& plugins = {});

// MODEL_PRIORITY, as OpenVINO's AUTO has it: devices on which a model of higher priority serves come after the others.
// `occupied` are the devices with the highest priority of the models on them.
void YieldToPriorities(PlacementPlan& plan, const std::vector<std::pair<std::string, PlacementPlan::Priority>>& occupied);

// What is known of a candidate at the moment.
struct CandidateState {
  enum class Lane { kNone, kCompiling, kReady, kFailed };
  Lane lane = Lane::kNone;
  bool usable = true;  // its devices are well (or suspect)
};

struct PlacementDecision {
  std::vector<size_t> route;    // candidates that serve or stand by, in order: kFirst uses the first that is open
  size_t standby = 0;           // so many at the end of the route stand by: they serve when all before them are closed
  std::vector<size_t> compile;  // to be started now
  std::vector<size_t> release;  // ready ones that are not needed any more
  bool helping = false;         // what serves is a helper: a better one is being compiled
  bool hopeless = false;        // nothing serves, and nothing is being compiled
};

// Stateless; calling it again with what it asked for done gives an empty `compile`.
PlacementDecision Decide(const PlacementPlan& plan, const std::vector<CandidateState>& states);

}  // namespace switchyard
