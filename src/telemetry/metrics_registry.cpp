#include "telemetry/metrics_registry.h"

#include <algorithm>
#include <memory>
#include <vector>

namespace switchyard {
namespace {

std::vector<bool> Wanted(const MetricsRegistry::Options& options) {
  std::vector<bool> wanted;
  for (const FamilyInfo& family : AllFamilies()) {
    const bool listed = std::find(options.families.begin(), options.families.end(), family.name) != options.families.end();
    const bool chosen = options.families.empty() ? family.set == FamilySet::kDefault : listed;
    wanted.push_back(family.set == FamilySet::kOwn || (options.ovms && chosen));
  }
  return wanted;
}

}  // namespace

MetricsRegistry::MetricsRegistry() : MetricsRegistry(Options{}) {}

MetricsRegistry::MetricsRegistry(Options options) : wanted_(Wanted(options)) {}

std::shared_ptr<ModelMetrics> MetricsRegistry::ForModel(const std::string& model, int64_t version) {
  MutexLock lock(&mutex_);
  models_[model];
  std::erase_if(versions_, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<ModelMetrics>& held = versions_[{model, version}];
  std::shared_ptr<ModelMetrics> metrics = held.lock();
  if (metrics == nullptr) {
    metrics = std::make_shared<ModelMetrics>(model, std::to_string(version), devices_);
    held = metrics;
  }
  return metrics;
}

void MetricsRegistry::CountQuery(std::string_view model, Endpoint endpoint, bool ok) {
  MutexLock lock(&mutex_);
  const auto found = models_.find(model);
  if (found != models_.end()) found->second[static_cast<size_t>(endpoint)].Count(ok);
}

void MetricsRegistry::CountRetry(const std::string& model, const std::string& device) {
  MutexLock lock(&mutex_);
  ++retries_[{model, device}];
}

void MetricsRegistry::CountFailover(const std::string& model, const std::string& from, const std::string& to,
                                    const std::string& reason) {
  MutexLock lock(&mutex_);
  ++failovers_[{model, from, to, reason}];
}

void MetricsRegistry::CountLoad(const std::string& model, const Status& status) {
  MutexLock lock(&mutex_);
  if (status.ok()) {
    ++loads_[model];
  } else {
    ++load_failures_[{model, absl::StatusCodeToString(status.code())}];
  }
}

void MetricsRegistry::Forget(const std::string& model) {
  MutexLock lock(&mutex_);
  models_.erase(model);
  loads_.erase(model);
  std::erase_if(load_failures_, [&model](const auto& entry) { return entry.first.first == model; });
  std::erase_if(retries_, [&model](const auto& entry) { return entry.first.first == model; });
  std::erase_if(failovers_, [&model](const auto& entry) { return std::get<0>(entry.first) == model; });
}

void MetricsRegistry::AddCollector(std::function<void(MetricsPage&)> collect) {
  MutexLock lock(&collecting_);
  collectors_.push_back(std::move(collect));
}

void MetricsRegistry::CollectModels(MetricsPage& page) const {
  // Calls count under the mutex: pages are long where versions are many.
  std::vector<std::shared_ptr<ModelMetrics>> versions;
  {
    MutexLock lock(&mutex_);
    for (const auto& [key, held] : versions_) {
      if (auto metrics = held.lock()) versions.push_back(std::move(metrics));
    }
  }
  for (const auto& metrics : versions) metrics->Collect(page);
  MutexLock lock(&mutex_);
  for (const auto& [model, outcomes] : models_) {
    for (size_t i = 0; i < kEndpoints; ++i) {
      const EndpointInfo& info = Info(static_cast<Endpoint>(i));
      if (info.versioned) continue;
      const MetricsPage::Labels labels = {
          {"api", info.api}, {"interface", info.interface}, {"method", info.method}, {"name", model}};
      page.Add(Family::kRequestsSuccess, labels, static_cast<double>(outcomes[i].success.value()));
      page.Add(Family::kRequestsFail, labels, static_cast<double>(outcomes[i].fail.value()));
    }
  }
  for (const auto& [model, count] : loads_) page.Add(Family::kLoads, {{"model", model}}, static_cast<double>(count));
  for (const auto& [key, count] : load_failures_) {
    page.Add(Family::kLoadFailures, {{"model", key.first}, {"reason", key.second}}, static_cast<double>(count));
  }
  devices_->Collect(page);
  for (const auto& [key, count] : retries_) {
    page.Add(Family::kRetriedCalls, {{"model", key.first}, {"device", key.second}}, static_cast<double>(count));
  }
  for (const auto& [key, count] : failovers_) {
    const auto& [model, from, to, reason] = key;
    page.Add(Family::kFailovers, {{"model", model}, {"from", from}, {"to", to}, {"reason", reason}},
             static_cast<double>(count));
  }
}

std::string MetricsRegistry::Text() const {
  MetricsPage page(wanted_);
  CollectModels(page);
  {
    MutexLock lock(&collecting_);
    for (const auto& collect : collectors_) collect(page);
  }
  return page.Text();
}

}  // namespace switchyard
