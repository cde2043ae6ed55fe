// What request threads leave for a thread of a sink's own: bounded, without locks.
#pragma once

#include <semaphore.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace switchyard {

// Many threads push, one pops. Elements stay where they are and are filled anew, so that nothing is allocated per element. What
// finds no room is dropped and counted. Pushing wakes the other side only when that has gone to sleep.
template <typename T>
class EventQueue {
 public:
  // For `capacity` elements, rounded up to a power of two.
  explicit EventQueue(size_t capacity) : mask_(std::bit_ceil(capacity) - 1), cells_(new Cell[mask_ + 1]) {
    for (size_t i = 0; i <= mask_; ++i) cells_[i].turn.store(i, std::memory_order_relaxed);
    sem_init(&woken_, 0, 0);
  }
  ~EventQueue() { sem_destroy(&woken_); }
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  // `fill(T&)` writes over an old element; it must not throw. False: there was no room.
  template <typename Fill>
  bool Push(Fill fill) {
    size_t place = tail_.load(std::memory_order_relaxed);
    Cell* cell = nullptr;
    for (;;) {
      cell = &cells_[place & mask_];
      const auto ahead = static_cast<std::ptrdiff_t>(cell->turn.load(std::memory_order_acquire) - place);
      if (ahead == 0) {
        if (tail_.compare_exchange_weak(place, place + 1, std::memory_order_relaxed)) break;
      } else if (ahead < 0) {
        dropped_.fetch_add(1, std::memory_order_relaxed);
        return false;
      } else {
        place = tail_.load(std::memory_order_relaxed);
      }
    }
    fill(cell->value);
    // Sequentially consistent, as is the look at `asleep_`: either this thread sees that the other one sleeps, or that one sees
    // the element before it does.
    cell->turn.exchange(place + 1);
    if (asleep_.load() && asleep_.exchange(false)) sem_post(&woken_);
    return true;
  }

  // The oldest element to `use(T&)`. False: there is none.
  template <typename Use>
  bool Pop(Use use) {
    Cell& cell = cells_[head_ & mask_];
    if (cell.turn.load(std::memory_order_acquire) != head_ + 1) return false;
    use(cell.value);
    cell.turn.store(head_ + mask_ + 1, std::memory_order_release);
    ++head_;
    return true;
  }

  // By the thread that pops: until there is an element, Wake was called, or `longest` has passed.
  void Wait(std::chrono::nanoseconds longest) {
    asleep_.store(true);
    if (cells_[head_ & mask_].turn.load() == head_ + 1) {
      asleep_.store(false);
      return;
    }
    timespec until{};
    clock_gettime(CLOCK_REALTIME, &until);
    const auto ns = std::chrono::nanoseconds(until.tv_nsec) + longest;
    until.tv_sec += static_cast<time_t>(ns / std::chrono::seconds(1));
    until.tv_nsec = static_cast<long>((ns % std::chrono::seconds(1)).count());
    sem_timedwait(&woken_, &until);
    asleep_.store(false);
  }
  void Wake() { sem_post(&woken_); }

  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  struct alignas(64) Cell {
    std::atomic<size_t> turn{0};
    T value;
  };
  const size_t mask_;
  const std::unique_ptr<Cell[]> cells_;
  alignas(64) std::atomic<size_t> tail_{0};
  alignas(64) size_t head_ = 0;  // of the thread that pops
  alignas(64) std::atomic<bool> asleep_{false};
  std::atomic<uint64_t> dropped_{0};
  sem_t woken_;
};

}  // namespace switchyard
