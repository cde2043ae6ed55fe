// What the files of ModelControl share.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/model_control.h"

namespace switchyard {

struct ModelControl::Job {
  absl::AnyInvocable<void(Done)> run;
  Done done;
};

// A change that the Manager has, whose loads were not all tried yet.
struct ModelControl::Waiting {
  std::set<std::string> models;      // whose loads are waited for
  std::set<std::string> changed;     // what the change was about
  bool looks_at_all = false;         // the change is no call about `changed` alone: every folder is looked at
  bool failures_are_errors = false;  // of the loads of `changed`
  // Of `changed` then: what the API had said before, and what it says now.
  std::map<std::string, std::pair<std::optional<WantedSet::Said>, std::optional<WantedSet::Said>>> words;
  std::string before;  // what served then
  Done done;
};

inline ControlOutcome Fault(Status status) { return {.status = std::move(status), .faults = {}}; }

inline ControlOutcome Refuse(std::string_view what, std::vector<ConfigFault> faults) {
  Status status = InvalidArgument("{} is refused, and nothing was changed; {} fault{}: {}", what, faults.size(),
                                  faults.size() == 1 ? "" : "s", ToText(faults));
  return {.status = std::move(status), .faults = std::move(faults)};
}

}  // namespace switchyard
