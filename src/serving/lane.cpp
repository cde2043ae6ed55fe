#include "serving/lane.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "serving/executor.h"
#include "serving/infer_call.h"

namespace switchyard {
namespace {

constexpr size_t kBitsPerWord = 64;
// Requests of sequences that have ended, kept for those to come: making one costs more than an inference of a small model.
constexpr size_t kSpareRequests = 64;
// How long a slow inference counts as recent, half of it at least.
constexpr Duration kPeriod = std::chrono::seconds(60);

}  // namespace

Lane::Lane(std::shared_ptr<CompiledModel> model, std::vector<std::unique_ptr<InferRequest>> requests, Options options)
    : options_(std::move(options)),
      facts_(model->facts()),
      slot_count_(requests.size()),
      model_(std::move(model)),
      slots_(requests.size()),
      free_((requests.size() + kBitsPerWord - 1) / kBitsPerWord),
      inline_ns_(std::chrono::nanoseconds(options_.inline_cost).count()),
      served_(options_.served != nullptr ? options_.served : std::make_shared<std::atomic<uint64_t>>(0)) {
  for (size_t i = 0; i < requests.size(); ++i) {
    slots_[i].request = std::move(requests[i]);
    free_[i / kBitsPerWord].fetch_or(uint64_t{1} << (i % kBitsPerWord));
  }
}

Lane::~Lane() = default;

int Lane::TakeFrom(size_t word) {
  uint64_t bits = free_[word].load();
  while (bits != 0) {
    const int bit = std::countr_zero(bits);
    if (free_[word].compare_exchange_weak(bits, bits & ~(uint64_t{1} << bit)))
      return static_cast<int>(word * kBitsPerWord) + bit;
  }
  return -1;
}

// The plugin runs requests together that were created together: a group is filled before the next one is begun, and a group
// that is free as a whole is preferred, since those that still run would keep the others waiting.
int Lane::TakeInGroup() {
  const size_t size = facts_.batch_size;
  const size_t groups = slot_count_ / size;
  const auto take = [&](size_t group) {
    for (size_t i = group * size; i < (group + 1) * size; ++i) {
      const uint64_t bit = uint64_t{1} << (i % kBitsPerWord);
      std::atomic<uint64_t>& word = free_[i / kBitsPerWord];
      if ((word.load(std::memory_order_relaxed) & bit) != 0 && (word.fetch_and(~bit) & bit) != 0) return static_cast<int>(i);
    }
    return -1;
  };
  const auto free_in = [&](size_t group) {
    size_t count = 0;
    for (size_t i = group * size; i < (group + 1) * size; ++i) {
      count += (free_[i / kBitsPerWord].load(std::memory_order_relaxed) >> (i % kBitsPerWord)) & 1;
    }
    return count;
  };
  const size_t current = group_.load();
  if (const int slot = take(current); slot >= 0) return slot;
  size_t next = current;
  size_t most = 0;
  for (size_t k = 1; k < groups; ++k) {
    const size_t group = (current + k) % groups;
    if (const size_t count = free_in(group); count > most) most = count, next = group;
  }
  if (most == 0) return -1;
  group_.store(next);
  return take(next);
}

int Lane::TakeSlot() {
  if (closed_.load(std::memory_order_relaxed)) return -1;
  int slot = -1;
  if (facts_.batch_size > 1 && slot_count_ % facts_.batch_size == 0) {
    slot = TakeInGroup();
  } else {
    for (size_t word = 0; word < free_.size() && slot < 0; ++word) slot = TakeFrom(word);
  }
  if (slot >= 0 && closed_.load()) {
    ReleaseSlot(slot);
    return -1;
  }
  return slot;
}

void Lane::ReleaseSlot(int slot) {
  const uint64_t bit = uint64_t{1} << (slot % kBitsPerWord);
  std::atomic<uint64_t>& word = free_[slot / kBitsPerWord];
  word.fetch_or(bit);
  // Close may have swept before the bit was set: then it is collected here, or by whoever has taken it meanwhile.
  if (closed_.load() && (word.fetch_and(~bit) & bit) != 0) Collect(1);
}

StatusOr<std::unique_ptr<InferRequest>> Lane::TakeOwn() {
  std::unique_ptr<InferRequest> request;
  {
    MutexLock lock(&spare_mutex_);
    if (!spare_.empty()) {
      request = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  if (request != nullptr) {
    if (const Status reset = request->ResetState(); !reset.ok()) {
      options_.discard(std::move(request));
      return reset;
    }
  } else {
    SY_ASSIGN_OR_RETURN(request, model_->CreateInferRequest());
  }
  own_requests_.fetch_add(1);
  return request;
}

void Lane::ReturnOwn(std::unique_ptr<InferRequest> request) {
  {
    MutexLock lock(&spare_mutex_);
    if (spare_.size() < kSpareRequests) spare_.push_back(std::move(request));
  }
  if (request != nullptr) options_.discard(std::move(request));
  if (own_requests_.fetch_sub(1) == 1 && options_.on_drained) options_.on_drained();
}

void Lane::Close() {
  if (closed_.exchange(true)) return;
  size_t count = 0;
  for (auto& word : free_) count += std::popcount(word.exchange(0));
  if (count > 0) Collect(count);
}

void Lane::Collect(size_t count) {
  if (collected_.fetch_add(count) + count == slot_count_ && options_.on_drained) options_.on_drained();
}

void Lane::Destroy() {
  for (Slot& slot : slots_) slot.request.reset();
  std::vector<std::unique_ptr<InferRequest>> spare;
  {
    MutexLock lock(&spare_mutex_);
    spare.swap(spare_);
  }
  spare.clear();
  model_.reset();
  // The Lane stays, and there may come many: what only people read of it goes.
  facts_.layers = {};
  facts_.reasons = {};
}

size_t Lane::active() const {
  size_t free = closed() ? collected_.load(std::memory_order_relaxed) : 0;
  for (const auto& word : free_) free += std::popcount(word.load(std::memory_order_relaxed));
  return slot_count_ - std::min(free, slot_count_);
}

size_t Lane::given_up() const {
  return std::count_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.state.load() == State::kGivenUp; });
}

bool Lane::RunsInline() {
  const int64_t cost = inline_ns_.load(std::memory_order_relaxed);
  if (cost == 0) return false;
  if (cost < Executor::kInlineCost.count()) return true;
  // A machine that was busy while the model loaded made it look dear; what calls take on the device corrects that.
  const int64_t service = service_ns_.load(std::memory_order_relaxed);
  const int64_t hope = service == 0 ? cost : std::min(cost, service);
  return hope < 4 * Executor::kInlineCost.count() &&
         inline_retries_.fetch_add(1, std::memory_order_relaxed) % Executor::kInlineRetryEvery == 0;
}

void Lane::RecordInlineCost(Duration cost) {
  // Falls at once and rises by a quarter at most: a thread that was preempted in an inference measured the machine, not the
  // model.
  const int64_t sample = std::max<int64_t>(1, std::chrono::nanoseconds(cost).count());
  const int64_t old = inline_ns_.load(std::memory_order_relaxed);
  const int64_t cost_ns = sample < old ? old - (old - sample) / 4 : std::min(sample, old + old / 4 + 1);
  inline_ns_.store(cost_ns, std::memory_order_relaxed);
  service_ns_.store(cost_ns, std::memory_order_relaxed);
}

void Lane::RecordService(Duration took, TimePoint now) {
  const int64_t sample = std::max<int64_t>(1, std::chrono::nanoseconds(took).count());
  const int64_t old = service_ns_.load(std::memory_order_relaxed);
  service_ns_.store(old == 0 ? sample : old + (sample - old) / 8, std::memory_order_relaxed);
  const int64_t now_ns = Nanoseconds(now);
  last_success_ns_.store(now_ns, std::memory_order_relaxed);
  // How long it waited for others nobody tells: what took longer than that may have waited for all of it. What is taken off one
  // that did not is less than `collecting`, which Timeout adds.
  const int64_t collecting = std::chrono::nanoseconds(options_.collecting).count();
  const int64_t inference = sample > collecting ? sample - collecting : sample;
  if (now_ns - period_ns_.load(std::memory_order_relaxed) > std::chrono::nanoseconds(kPeriod).count()) {
    period_ns_.store(now_ns, std::memory_order_relaxed);
    slowest_before_ns_.store(slowest_ns_.exchange(inference, std::memory_order_relaxed), std::memory_order_relaxed);
  } else if (inference > slowest_ns_.load(std::memory_order_relaxed)) {
    slowest_ns_.store(inference, std::memory_order_relaxed);
  }
}

Duration Lane::Timeout() const {
  if (options_.timeout > Duration::zero()) return options_.timeout + options_.collecting;
  const int64_t slowest =
      std::max(slowest_ns_.load(std::memory_order_relaxed), slowest_before_ns_.load(std::memory_order_relaxed));
  return std::max(kShortestTimeout, Duration(std::chrono::nanoseconds(slowest * kTimeoutFactor))) + options_.collecting;
}

Duration Lane::OldestAge(TimePoint now) const {
  int64_t oldest = INT64_MAX;
  for (const Slot& slot : slots_) {
    if (slot.state.load() == State::kRunning) oldest = std::min(oldest, slot.started_ns.load(std::memory_order_relaxed));
  }
  if (oldest == INT64_MAX) return Duration::zero();
  return std::max(Duration::zero(), now - TimePoint(Duration(oldest)));
}

}  // namespace switchyard
