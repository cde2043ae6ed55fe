#include "config/metrics_list.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "config/text.h"
#include "telemetry/metrics.h"

namespace switchyard {

Status CheckMetricsList(const std::vector<std::string>& names) {
  const std::vector<std::string_view> known = SelectableFamilies();
  for (auto name = names.begin(); name != names.end(); ++name) {
    if (std::find(names.begin(), name, *name) != name) {
      return InvalidArgument("the metric {} is named twice; name it once", Quote(*name));
    }
    if (std::find(known.begin(), known.end(), *name) != known.end()) continue;
    const auto own = [&](const FamilyInfo& family) { return family.set == FamilySet::kOwn && family.name == *name; };
    if (std::any_of(AllFamilies().begin(), AllFamilies().end(), own)) {
      return InvalidArgument("the metric {} is always there and cannot be chosen; leave it out", Quote(*name));
    }
    const std::string_view nearest = Nearest(*name, known);
    if (!nearest.empty()) {
      return InvalidArgument("the metric {} is not known; did you mean {}?", Quote(*name), Quote(nearest));
    }
    return InvalidArgument("the metric {} is not known; expected names out of {}", Quote(*name), fmt::join(known, ", "));
  }
  return absl::OkStatus();
}

StatusOr<std::vector<std::string>> ParseMetricsList(std::string_view text) {
  std::vector<std::string> names;
  if (Trim(text).empty()) return names;
  for (const std::string_view name : Split(text, ',')) names.emplace_back(Trim(name));
  SY_RETURN_IF_ERROR(CheckMetricsList(names));
  return names;
}

}  // namespace switchyard
