// The Manager's part about what goes: versions and models that are replaced or not wanted any more, and what is kept of them.
#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "base/log.h"
#include "serving/executor.h"
#include "serving/model_map.h"

namespace switchyard {
namespace {

// Versions that are gone are listed as such; no more than these of each model.
constexpr size_t kMostGone = 32;
constexpr size_t kMostGoneModels = 256;

}  // namespace

// Whether all that can be loaded of what is wanted serves, or as many others in the place of what does not load; or nothing is
// wanted, as far as is known.
bool Manager::Replaced(const Model& model) {
  bool any = false;
  bool all = true;
  bool untaken = false;
  bool gives_way = false;
  size_t serving = 0;
  for (const auto& [number, entry] : model.entries) {
    if (!entry.wanted) continue;
    untaken = untaken || entry.untaken;
    if (entry.untaken) continue;
    any = true;
    serving += entry.slot != nullptr ? 1 : 0;
    gives_way = gives_way || GivesWay(model, entry);
    all = all && (entry.slot != nullptr || GivesWay(model, entry));
  }
  if (!any) return !untaken && !model.faulty && !model.look && model.failed_looks == 0;
  return all && (!gives_way || serving >= model.settings.version_policy.latest_count);
}

// Whether a label leads to the version until another serves.
bool Manager::KeptByLabel(const Model& model, int64_t number) {
  return std::any_of(model.labels.begin(), model.labels.end(), [&](const auto& label) {
    const auto led = model.led_to.find(label.first);
    if (led == model.led_to.end() || led->second != number || label.second == number) return false;
    const auto named = model.entries.find(label.second);
    return named == model.entries.end() || named->second.slot == nullptr;
  });
}

// What is not wanted any more goes when all that is wanted serves. A version that fails to load takes nothing away: of the
// latest ones an older one goes on in its place. What was taken out of the folder, or of a policy that names its versions,
// is nobody's stand-in: it goes as soon as there is another to call.
void Manager::RetireSuperseded(Model& model) {
  const bool replaced = Replaced(model);
  const bool serves = std::any_of(model.entries.begin(), model.entries.end(), [](const auto& item) {
    const Entry& entry = item.second;
    return entry.wanted && entry.slot != nullptr && entry.slot->get()->executor().serving();
  });
  const bool latest = model.settings.version_policy.kind == VersionPolicy::Kind::kLatest;
  for (auto& [number, entry] : model.entries) {
    if (!entry.wanted && entry.state != VersionState::kGone) {
      const bool taken_out = !latest || entry.missing_since;
      if (replaced || entry.slot == nullptr || (taken_out && serves && !KeptByLabel(model, number))) {
        Retire(entry);
      } else {
        if (entry.placer != nullptr) discarded_.push_back(std::exchange(entry.placer, nullptr));
        entry.state = VersionState::kAvailable;
        entry.tried = entry.served;
      }
    }
  }
  std::erase_if(model.entries, [](const auto& item) { return item.second.forgotten(); });
  auto gone = static_cast<size_t>(std::count_if(model.entries.begin(), model.entries.end(),
                                                [](const auto& item) { return item.second.state == VersionState::kGone; }));
  for (auto it = model.entries.begin(); it != model.entries.end() && gone > kMostGone;) {
    const bool erase = it->second.state == VersionState::kGone;
    if (erase) --gone;
    it = erase ? model.entries.erase(it) : std::next(it);
  }
}

// Models that are gone are listed as such, as their versions are, up to a number.
void Manager::ForgetGone() {
  const auto gone = [](const Model& model) {
    return !model.wanted && std::all_of(model.entries.begin(), model.entries.end(), [](const auto& item) {
      return item.second.state == VersionState::kGone && item.second.slot == nullptr;
    });
  };
  size_t surplus = 0;
  for (const auto& [name, model] : models_) surplus += gone(*model) ? 1 : 0;
  surplus -= std::min(surplus, kMostGoneModels);
  for (auto it = models_.begin(); surplus > 0;) {
    const bool erase = gone(*it->second);
    if (erase) --surplus;
    if (erase) metrics_.Forget(it->first);
    it = erase ? models_.erase(it) : std::next(it);
  }
}

void Manager::Retire(Entry& entry) {
  if (entry.slot != nullptr) {
    retired_.push_back(std::move(entry.slot));
    entry.slot = nullptr;
  }
  if (entry.placer != nullptr) discarded_.push_back(std::exchange(entry.placer, nullptr));
  entry.state = VersionState::kGone;
  entry.error = absl::OkStatus();
  entry.wanted = entry.untaken = entry.settling = entry.gives_way = false;
  entry.missing_since.reset();
}

// What nobody wants goes, but for models that an alias leads to until the model that has it now serves. Nothing is kept of one
// that never served.
void Manager::RetireUnwanted() {
  std::set<std::string> needed;
  for (const auto& [name, model] : models_) {
    if (!model->wanted) continue;
    for (const std::string& alias : model->aliases) needed.insert(AliasLeadsTo(alias, name));
  }
  for (auto& [name, model] : models_) {
    if (model->wanted) continue;
    model->lent = needed.contains(name);
    model->fault = absl::OkStatus();
    model->aliases.clear();
    if (!model->lent) model->labels.clear();
    for (auto& [number, entry] : model->entries) {
      if (!model->lent || entry.slot == nullptr) {
        if (entry.state != VersionState::kGone) Retire(entry);
      } else if (entry.placer != nullptr) {
        discarded_.push_back(std::exchange(entry.placer, nullptr));
        entry.state = VersionState::kAvailable;
      }
    }
    std::erase_if(model->entries, [](const auto& item) { return item.second.forgotten(); });
    if (model->entries.empty()) metrics_.Forget(name);
  }
  std::erase_if(models_, [](const auto& item) { return !item.second->wanted && item.second->entries.empty(); });
}

void Manager::CloseRetired() {
  std::vector<std::shared_ptr<VersionSlot>> closing;
  std::map<const VersionSlot*, std::shared_ptr<VersionSlot>> successors;
  {
    MutexLock lock(&mutex_);
    closing.swap(retired_);
    successors.swap(successors_);
    draining_.insert(draining_.end(), closing.begin(), closing.end());
  }
  for (const auto& slot : closing) {
    // Before anybody may free it. Nothing wakes one that goes: its calls are run by what took its place.
    Version& version = *slot->get();
    if (version.executor().asleep()) {
      version.executor().SetRoute(
          {.closed = Error(StatusCode::kUnavailable, "Model {} version {} has changed or was unloaded: try again",
                           version.model_name(), version.number()),
           .successor = successors[slot.get()]});
    }
    slot->Close();
  }
}

void Manager::DestroyDrained() {
  std::vector<std::shared_ptr<VersionSlot>> drained;
  {
    MutexLock lock(&mutex_);
    drained.swap(drained_);
  }
  for (const auto& slot : drained) {
    const std::string name = slot->get()->model_name();
    const int64_t number = slot->get()->number();
    slot->Destroy();
    LogInfo("Model {} version {} is unloaded", name, number);
  }
}

}  // namespace switchyard
