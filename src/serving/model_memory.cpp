// The Manager's part about memory: which models give theirs back since nobody calls, or since others need it, and how they come
// back when they are called.
#include <algorithm>
#include <chrono>
#include <utility>

#include "base/backoff.h"
#include "base/log.h"
#include "serving/executor.h"
#include "serving/model_map.h"
#include "serving/shape_instances.h"

namespace switchyard {
namespace {

// A model that was called so lately is not idle, whatever needs its memory.
constexpr auto kBriefRest = std::chrono::seconds(1);

}  // namespace

// For whom room is to be found.
struct Manager::RoomRequest {
  uint64_t need = 0;
  const Entry* entry = nullptr;       // whose load needs it
  bool loaded = false;                // it is there, in place of what the entry has
  const Placer* instances = nullptr;  // one of these needs it
  std::string what;                   // "model resnet version 2"
  std::string model;
};

// What an entry takes of the memory now.
uint64_t Manager::NeedOf(const Entry& entry) const {
  uint64_t bytes = entry.placer != nullptr ? std::max(entry.tried.bytes, entry.needed) : 0;
  if (entry.slot != nullptr) {
    const std::shared_ptr<Placer>& kept = entry.slot->get()->placer();
    const Placer& placer = *kept;
    const bool roused = std::find(to_rouse_.begin(), to_rouse_.end(), kept) != to_rouse_.end();
    if (roused || !placer.asleep()) bytes += std::max(placer.memory_bytes(), entry.served.bytes);
  }
  return bytes;
}

// Has idle models sleep, and idle instances of models go, until it fits.
Status Manager::FindRoom(const RoomRequest& request) {
  const uint64_t budget = options_.memory_budget;
  if (budget == 0) return absl::OkStatus();
  uint64_t used = 0;
  std::string users;
  struct Idle {
    TimePoint last_use;
    uint64_t bytes;
    std::shared_ptr<Placer> placer;
    std::optional<ShapeInstances::Key> shape;  // that instance alone
  };
  std::vector<Idle> idle;
  const TimePoint now = timer_.Now();
  for (const auto& [name, model] : models_) {
    for (const auto& [number, entry] : model->entries) {
      if (request.loaded && &entry == request.entry) continue;
      const uint64_t bytes = NeedOf(entry);
      if (bytes == 0) continue;
      used += bytes;
      users += fmt::format("{}{}/{} {}", users.empty() ? "" : ", ", name, number, bytes);
      if (entry.slot == nullptr) continue;
      const std::shared_ptr<Placer>& placer = entry.slot->get()->placer();
      if (placer->shapes() != nullptr) {
        const Duration rest = placer.get() == request.instances ? Duration::zero() : kBriefRest;
        for (ShapeInstances::Idle& one : placer->shapes()->IdleOnes()) {
          if (now - one.last_use >= rest) idle.push_back({one.last_use, one.bytes, placer, std::move(one.key)});
        }
      }
      if (&entry == request.entry || entry.placer != nullptr) continue;
      const Executor& executor = *placer->executor();
      const bool planned = std::find(to_sleep_.begin(), to_sleep_.end(), placer) != to_sleep_.end();
      if (planned) {
        used -= bytes;
      } else if (placer->CanSleep() && executor.queued() + executor.active() == 0 && now - executor.last_use() >= kBriefRest) {
        idle.push_back({executor.last_use(), bytes, placer, std::nullopt});
      }
    }
  }
  std::stable_sort(idle.begin(), idle.end(), [](const Idle& a, const Idle& b) { return a.last_use < b.last_use; });
  size_t count = 0;
  while (used + request.need > budget && count < idle.size()) used -= idle[count++].bytes;
  if (used + request.need > budget) {
    return Error(StatusCode::kResourceExhausted,
                 "{} needs about {} bytes, which do not fit into the {} of --memory_budget: in use are {}; none that could be "
                 "given back is idle; raise the budget, or serve less",
                 request.what, request.need, budget, users.empty() ? "none" : users);
  }
  if (count > 0) woken_ = true;  // the next step frees them
  for (size_t i = 0; i < count; ++i) {
    if (idle[i].shape) {
      idle[i].placer->shapes()->GiveBack(*idle[i].shape, fmt::format("model {} needs room", request.model));
      continue;
    }
    LogInfo("Model {}: its memory is given back, since model {} needs room", idle[i].placer->settings().name, request.model);
    to_sleep_.push_back(idle[i].placer);
  }
  return absl::OkStatus();
}

// Before a load.
Status Manager::MakeRoom(uint64_t need, const Entry& for_entry, const std::string& name) {
  return FindRoom(
      {.need = need, .entry = &for_entry, .what = fmt::format("model {} version {}", name, for_entry.version), .model = name});
}

// After it: what the Version takes may be more than was reckoned. What it replaces goes, and does not count.
Status Manager::CheckRoom(Entry& entry, const std::string& name) {
  entry.needed = entry.placer->memory_bytes();
  return FindRoom({.need = std::max(entry.needed, entry.tried.bytes),
                   .entry = &entry,
                   .loaded = true,
                   .what = fmt::format("model {} version {}", name, entry.version),
                   .model = name});
}

// On the Manager's thread, while it steps the Version's Placer.
Status Manager::MakeRoomForShape(const std::string& name, int64_t version, uint64_t need, const std::string& shape) {
  if (options_.memory_budget == 0) return absl::OkStatus();
  Status room;
  {
    MutexLock lock(&mutex_);
    RoomRequest request{.need = need, .what = fmt::format("model {} version {} for {}", name, version, shape), .model = name};
    if (const auto model = models_.find(name); model != models_.end()) {
      const auto entry = model->second->entries.find(version);
      if (entry != model->second->entries.end() && entry->second.slot != nullptr) {
        request.instances = entry->second.slot->get()->placer().get();
      }
    }
    room = FindRoom(request);
  }
  SleepAndRouse();
  return room;
}

// When the entry will have been idle for so long that it is to sleep; kNoDeadline: never.
TimePoint Manager::IdleAt(const Model& model, const Entry& entry) const {
  const uint32_t seconds = model.settings.idle_unload_seconds;
  if (seconds == 0 || entry.slot == nullptr || entry.placer != nullptr || !entry.slot->get()->placer()->CanSleep()) {
    return kNoDeadline;
  }
  const Executor& executor = *entry.slot->get()->placer()->executor();
  const TimePoint at = executor.last_use() + std::chrono::seconds(seconds);
  const TimePoint now = timer_.Now();
  // A call that takes longer than that: look again.
  return at <= now && executor.queued() + executor.active() > 0 ? now + std::chrono::seconds(seconds) : at;
}

// What a look at the folder says of a Version that a call waits for.
void Manager::LookForRouse(Model& model, Entry& entry, const FoundVersion* found, bool settled) {
  entry.rouse_fault = absl::OkStatus();
  if (found == nullptr) {
    // Another folder may be moved to its place.
    if (entry.missing_since && timer_.Now() - *entry.missing_since < options_.settle) return;
    entry.rouse_fault =
        Error(StatusCode::kUnavailable, "the folder of version {} under {} is gone", entry.version, model.settings.base_path);
  } else if (!settled) {
    return;
  } else if (found->files.model_path.empty()) {
    entry.rouse_fault = NoCompleteSet(found->files, model.settings.base_path);
  } else if (entry.served.SameFiles({found->folder, found->files.model_path, found->state.files, 0, {}})) {
    entry.rouse = Entry::Rouse::kSame;
  } else if (!entry.wanted) {
    entry.rouse_fault = Error(StatusCode::kUnavailable, "its files have changed, and the version is not wanted any more");
  }
}

// A call waits for a Version that gave its memory back.
void Manager::DecideRouse(const std::string& name, Model& model, Entry& entry) {
  const std::shared_ptr<Placer>& placer = entry.slot->get()->placer();
  const bool looks = model.wanted && !model.faulty;
  if (entry.rouse == Entry::Rouse::kNone) {
    // Of one that is not looked at any more, the Placer alone sees to it that its files are the same.
    entry.rouse = looks ? Entry::Rouse::kLook : Entry::Rouse::kSame;
    entry.rouse_fault = absl::OkStatus();
    if (looks) model.look = woken_ = true;
    if (looks) return;
  }
  // It was being looked at until its settings became faulty: no look comes any more.
  if (!looks && entry.rouse == Entry::Rouse::kLook) entry.rouse = Entry::Rouse::kSame;
  Status refusal;
  if (entry.rouse == Entry::Rouse::kSame) {
    refusal = MakeRoom(std::max(placer->memory_bytes(), entry.served.bytes), entry, name);
    if (!refusal.ok()) metrics_.CountLoad(name, refusal);
    if (refusal.ok()) {
      LogInfo("Model {} version {} is called: it is loaded again", name, entry.version);
      to_rouse_.push_back(placer);
      entry.rousing = true;
    }
  } else {
    if (model.look || model.awaits_copy) return;
    Status why = entry.rouse_fault;
    if (model.failed_looks > 0) why = model.fault;
    if (why.ok() && entry.state == VersionState::kFailed) why = entry.error;
    if (why.ok()) return;  // what has changed is still changing, or is being loaded
    const bool counted = model.failed_looks > 0 || entry.rouse_fault.ok();
    if (!counted) metrics_.CountLoad(name, why);
    refusal = Error(StatusCode::kUnavailable, "Model {} version {} gave its memory back and cannot be loaded again: {}", name,
                    entry.version, Message(why));
  }
  entry.rouse = Entry::Rouse::kNone;
  if (!refusal.ok()) to_refuse_.emplace_back(placer, refusal);
}

// What came of loading a Version that a call waited for.
void Manager::CountRouse(const std::string& name, Entry& entry) {
  const Placer& placer = *entry.slot->get()->placer();
  if (!entry.rousing || placer.rousing()) return;
  entry.rousing = false;
  // That sleeps again whose files have changed: another Version is loaded, which counts for itself.
  if (!placer.asleep()) metrics_.CountLoad(name, placer.rouse_failed() ? placer.why() : absl::OkStatus());
}

void Manager::DecideSleep() {
  const TimePoint now = timer_.Now();
  for (const auto& [name, model] : models_) {
    for (auto& [number, entry] : model->entries) {
      if (entry.slot == nullptr || shutting_down_) continue;
      const std::shared_ptr<Placer>& placer = entry.slot->get()->placer();
      if (placer->rouse_failed()) {
        if (entry.rouse_at == kNoDeadline) {
          entry.rouse_at = now + Backoff(++entry.failures);
        } else if (entry.rouse_at <= now) {
          entry.rouse_at = kNoDeadline;
          to_sleep_.push_back(placer);
        }
      } else if (placer->asleep()) {
        if (placer->executor()->queued() > 0) {
          DecideRouse(name, *model, entry);
        } else {
          entry.rouse = Entry::Rouse::kNone;
        }
      } else if (placer->rouse_stale()) {
        to_sleep_.push_back(placer);
        if (!model->wanted || model->faulty) to_refuse_.emplace_back(placer, FilesChanged(name, number));
      } else if (IdleAt(*model, entry) <= now) {
        LogInfo("Model {} version {}: no call for {} s, its memory is given back", name, number,
                model->settings.idle_unload_seconds);
        to_sleep_.push_back(placer);
      } else if (placer->phase() == Placer::Phase::kServing) {
        entry.rouse_at = kNoDeadline;
        if (entry.state == VersionState::kAvailable) entry.failures = 0;
      }
    }
  }
}

// Without the mutex: lanes that are given back and calls that are answered call back.
void Manager::SleepAndRouse() {
  std::vector<std::shared_ptr<Placer>> sleep;
  std::vector<std::shared_ptr<Placer>> rouse;
  std::vector<std::pair<std::shared_ptr<Placer>, Status>> refuse;
  {
    MutexLock lock(&mutex_);
    sleep.swap(to_sleep_);
    rouse.swap(to_rouse_);
    refuse.swap(to_refuse_);
  }
  for (const auto& placer : sleep) placer->Sleep();
  for (const auto& placer : rouse) placer->Rouse();
  for (const auto& [placer, why] : refuse) placer->Refuse(why);
}

}  // namespace switchyard
