#include "base/shared_mapping.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "base/utf8.h"

namespace switchyard {
namespace {

constexpr uintptr_t kNowhere = UINTPTR_MAX;

size_t PageSize() {
  static const auto size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

// The name in the folder of shared memory; empty: the key can be none.
std::string_view NameOf(std::string_view key) {
  if (key.starts_with('/')) key.remove_prefix(1);
  const bool one_name = key.find('/') == key.npos && key.find('\0') == key.npos && key != "." && key != "..";
  return one_name && key.size() <= SharedMapping::kLongestKey ? key : std::string_view();
}

Status OpenError(std::string_view key, int error) {
  switch (error) {
    case ENOENT:
      return Error(StatusCode::kNotFound,
                   "There is no shared memory object {}: it must be there before it is registered, on the server's host, and "
                   "in a container in the same IPC namespace",
                   key);
    case EACCES:
    case EPERM:
      return Error(StatusCode::kPermissionDenied,
                   "The server's user may not read and write the shared memory object {}: give it the rights", key);
    default:
      return InvalidArgument("The shared memory object {} cannot be opened: {}", key, std::strerror(error));
  }
}

struct OpenObject {
  explicit OpenObject(int number) : number(number) {}
  ~OpenObject() {
    if (number >= 0) close(number);
  }
  OpenObject(const OpenObject&) = delete;
  const int number;
};

}  // namespace

// What the handler knows of one mapping. It reads `begin`, `end`, and `begin` again: an entry is changed only while `begin` is
// kNowhere, and what a thread faults in stays mapped meanwhile, so that no mixture of two entries can have its address.
struct SharedMapping::Guard {
  std::atomic<bool> taken{false};
  std::atomic<uintptr_t> begin{kNowhere};  // whole pages
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> damaged{false};
};

struct SharedMapping::Guards {
  static std::array<Guard, kMost> all;
  static struct sigaction before;

  static void OnBusError(int signal, siginfo_t* info, void* context) {
    const int error = errno;
    const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
    for (Guard& guard : all) {
      const uintptr_t begin = guard.begin.load();
      const uintptr_t end = guard.end.load();
      if (address < begin || address >= end || guard.begin.load() != begin) continue;
      guard.damaged.store(true);
      // The system call itself: no sanitizer stands before it in a handler.
      const uintptr_t page = address & ~(static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)) - 1);
      const long made = syscall(SYS_mmap, page, end - page, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0L);
      errno = error;
      if (static_cast<uintptr_t>(made) == page) return;
      break;
    }
    if ((before.sa_flags & SA_SIGINFO) != 0) {
      before.sa_sigaction(signal, info, context);
    } else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
      ::signal(SIGBUS, SIG_DFL);  // the instruction runs again, and ends the process
    } else {
      before.sa_handler(signal);
    }
  }

  static void Install() {
    static std::once_flag once;
    std::call_once(once, [] {
      PageSize();
      struct sigaction action {};
      action.sa_sigaction = OnBusError;
      action.sa_flags = SA_SIGINFO | SA_ONSTACK;
      sigemptyset(&action.sa_mask);
      sigaction(SIGBUS, &action, &before);
    });
  }

  static Guard* Take() {
    for (Guard& guard : all) {
      bool taken = false;
      if (!guard.taken.load(std::memory_order_relaxed) && guard.taken.compare_exchange_strong(taken, true)) return &guard;
    }
    return nullptr;
  }

  static void Give(Guard* guard) {
    guard->damaged.store(false);
    guard->taken.store(false);
  }
};

std::array<SharedMapping::Guard, SharedMapping::kMost> SharedMapping::Guards::all;
struct sigaction SharedMapping::Guards::before {};

StatusOr<std::unique_ptr<SharedMapping>> SharedMapping::Open(std::string_view key, uint64_t offset, uint64_t size) {
  const std::string_view name = NameOf(key);
  if (name.empty()) {
    return InvalidArgument(
        "Invalid key of shared memory - Expected: a name as shm_open takes it, such as /input_data, of at most {} characters "
        "and without a further slash; Actual: {}",
        kLongestKey, CutUtf8(key, kLongestKey));
  }
  if (size == 0) return InvalidArgument("Invalid size of shared memory - Expected: at least 1 byte; Actual: 0; key: {}", key);
  const OpenObject file(shm_open(("/" + std::string(name)).c_str(), O_RDWR | O_NONBLOCK, 0));
  if (file.number < 0) return OpenError(key, errno);
  struct stat facts {};
  if (fstat(file.number, &facts) != 0) return OpenError(key, errno);
  if (!S_ISREG(facts.st_mode)) return InvalidArgument("{} is no shared memory object, but something else", key);
  const auto there = static_cast<uint64_t>(facts.st_size);
  if (offset > there || size > there - offset) {
    return InvalidArgument(
        "Invalid size of shared memory - Expected: offset and byte_size within the {} bytes of the object {}; Actual: {} bytes "
        "from {} on",
        there, key, size, offset);
  }
  Guards::Install();
  Guard* const guard = Guards::Take();
  if (guard == nullptr) {
    return Error(StatusCode::kResourceExhausted, "{} regions of shared memory are in use, which is the most; unregister some",
                 kMost);
  }
  const uint64_t lead = offset % PageSize();
  const size_t bytes = static_cast<size_t>(lead + size);
  void* const pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.number, static_cast<off_t>(offset - lead));
  if (pages == MAP_FAILED) {
    const int error = errno;
    Guards::Give(guard);
    return Error(StatusCode::kResourceExhausted, "{} bytes of the shared memory object {} cannot be mapped: {}", size, key,
                 std::strerror(error));
  }
  const auto begin = reinterpret_cast<uintptr_t>(pages);
  guard->end.store((begin + bytes + PageSize() - 1) / PageSize() * PageSize());
  guard->begin.store(begin);
  return std::unique_ptr<SharedMapping>(
      new SharedMapping(guard, static_cast<std::byte*>(pages) + lead, static_cast<size_t>(size)));
}

SharedMapping::~SharedMapping() {
  const uintptr_t begin = guard_->begin.exchange(kNowhere);
  munmap(reinterpret_cast<void*>(begin), guard_->end.load() - begin);
  Guards::Give(guard_);
}

bool SharedMapping::damaged() const { return guard_->damaged.load(std::memory_order_relaxed); }

}  // namespace switchyard
