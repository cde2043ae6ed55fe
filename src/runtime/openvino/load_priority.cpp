#include "runtime/openvino/load_priority.h"

#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>

namespace switchyard {
namespace {

constexpr int kLower = 10;

std::set<pid_t> Threads() {
  std::set<pid_t> threads;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc/self/task", error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    pid_t thread = 0;
    std::from_chars(name.data(), name.data() + name.size(), thread);
    if (thread > 0) threads.insert(thread);
  }
  return threads;
}

// Tried by a thread that ends then: one that could not go back would stay as it is.
bool MayGoBack(int nice) {
  bool may = false;
  std::thread([&may, nice] {
    const auto self = static_cast<id_t>(gettid());
    may = setpriority(PRIO_PROCESS, self, nice + 1) == 0 && setpriority(PRIO_PROCESS, self, nice) == 0;
  }).join();
  return may;
}

}  // namespace

LoadPriority::LoadPriority() : nice_(getpriority(PRIO_PROCESS, static_cast<id_t>(gettid()))) {
  // At the lowest of all there is nothing to lower.
  if (nice_ + kLower > 19 || !MayGoBack(nice_)) return;
  others_ = Threads();
  lowered_ = !others_.empty() && setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), nice_ + kLower) == 0;
}

LoadPriority::~LoadPriority() {
  if (!lowered_) return;
  // First, so that what it starts from now on is as it was.
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), nice_);
  for (const pid_t thread : Threads()) {
    if (others_.contains(thread)) continue;
    const auto id = static_cast<id_t>(thread);
    if (getpriority(PRIO_PROCESS, id) == nice_ + kLower) setpriority(PRIO_PROCESS, id, nice_);
  }
}

}  // namespace switchyard
