// All that the server counts, and the text of /metrics.
#pragma once

#include <absl/base/thread_annotations.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "telemetry/metrics.h"
#include "telemetry/model_metrics.h"

namespace switchyard {

// Thread-safe. Requests count in the cells of their ModelMetrics, which a Version holds, and never come here.
class MetricsRegistry {
 public:
  struct Options {
    bool ovms = false;                  // OVMS's families are shown: the default ones,
    std::vector<std::string> families;  // or these, when there are any
  };

  MetricsRegistry();  // without OVMS's families
  explicit MetricsRegistry(Options options);

  // The cells of a version: new ones, or those that somebody still holds (a version that is loaded anew counts on). They leave
  // the page when nobody holds them any more; the model stays known, which Count... ask for.
  std::shared_ptr<ModelMetrics> ForModel(const std::string& model, int64_t version);

  // Of an endpoint that is about a model (ModelReady, GetModelStatus). Names that are no model's are not counted: whoever may
  // send requests could fill the page with them. Takes a lock for a look into a map.
  void CountQuery(std::string_view model, Endpoint endpoint, bool ok);
  // Rare events; they take a lock.
  void CountRetry(const std::string& model, const std::string& device);
  void CountFailover(const std::string& model, const std::string& from, const std::string& to, const std::string& reason);

  // A version of `model` was loaded (OK), or could not be, for this reason.
  void CountLoad(const std::string& model, const Status& status);

  // The model is unknown from now on, and its counts leave the page (but for cells that are held).
  void Forget(const std::string& model);

  // `collect` runs at each scrape, on the scraping thread, one scrape at a time. It must not block, nor add a collector.
  void AddCollector(std::function<void(MetricsPage&)> collect);

  std::string Text() const;

 private:
  void CollectModels(MetricsPage& page) const;

  const std::vector<bool> wanted_;
  mutable Mutex mutex_;
  std::map<std::pair<std::string, int64_t>, std::weak_ptr<ModelMetrics>> versions_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::array<Outcomes, kEndpoints>, std::less<>> models_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<std::string, std::string>, uint64_t> retries_ ABSL_GUARDED_BY(mutex_);
  std::map<std::tuple<std::string, std::string, std::string, std::string>, uint64_t> failovers_ ABSL_GUARDED_BY(mutex_);

  const std::shared_ptr<DeviceTotals> devices_ = std::make_shared<DeviceTotals>();
  std::map<std::string, uint64_t> loads_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<std::string, std::string>, uint64_t> load_failures_ ABSL_GUARDED_BY(mutex_);

  mutable Mutex collecting_;
  std::vector<std::function<void(MetricsPage&)>> collectors_ ABSL_GUARDED_BY(collecting_);
};

}  // namespace switchyard
