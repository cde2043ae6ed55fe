#include "base/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>

namespace switchyard {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxOutput = size_t{1} << 20;
// How often the child is asked whether it has ended: it may have while somebody else holds its streams open, or live on with
// its streams closed.
constexpr int kTickMs = 10;
// A process inside a broken driver does not even end by SIGKILL.
constexpr auto kReapLimit = std::chrono::seconds(2);

class Descriptor {
 public:
  Descriptor() = default;
  // Above the three standard streams, so that placing those in the child never overwrites a source.
  explicit Descriptor(int fd) : fd_(fd) {
    if (fd < 0 || fd > STDERR_FILENO) return;
    fd_ = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(fd);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { Close(); }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

struct Channel {
  Descriptor ours;
  Descriptor theirs;
};

// A pair of sockets, since writing to one whose reader is gone can be told not to raise SIGPIPE.
StatusOr<Channel> MakeChannel() {
  std::array<int, 2> ends;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return Error(StatusCode::kInternal, "cannot make a channel to a child process: {}", strerror(errno));
  }
  Channel channel{Descriptor(ends[0]), Descriptor(ends[1])};
  if (channel.ours.get() < 0 || channel.theirs.get() < 0 || fcntl(channel.ours.get(), F_SETFL, O_NONBLOCK) != 0) {
    return Error(StatusCode::kInternal, "cannot prepare a channel to a child process: {}", strerror(errno));
  }
  return channel;
}

struct Streams {
  Channel in, out, err;
};

StatusOr<pid_t> Spawn(const std::vector<std::string>& argv, const Streams& streams) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, streams.in.theirs.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, streams.out.theirs.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, streams.err.theirs.get(), STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setsigmask(&attributes, &none);
  // A group of its own: what the child has started goes with it.
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return Error(StatusCode::kInternal, "cannot start {}: {}", argv[0], strerror(error));
  return pid;
}

void KeepEnd(std::string* text) {
  if (text->size() > kMaxOutput) text->erase(0, text->size() - kMaxOutput);
}

// Takes what is there to read; closes the descriptor at its end.
void Drain(Descriptor* from, std::string* text) {
  std::array<char, 65536> buffer;
  while (from->get() >= 0) {
    const ssize_t count = read(from->get(), buffer.data(), buffer.size());
    if (count > 0) {
      text->append(buffer.data(), static_cast<size_t>(count));
      if (text->size() > 2 * kMaxOutput) KeepEnd(text);
    } else if (count < 0 && errno == EINTR) {
      continue;
    } else {
      if (count == 0 || errno != EAGAIN) from->Close();
      return;
    }
  }
}

// Gives what the child takes now; closes the descriptor when all is given, or the child takes no more.
void Feed(Descriptor* to, std::string_view* input) {
  while (to->get() >= 0 && !input->empty()) {
    const ssize_t count = send(to->get(), input->data(), input->size(), MSG_NOSIGNAL);
    if (count >= 0) {
      input->remove_prefix(static_cast<size_t>(count));
    } else if (errno != EINTR) {
      if (errno == EAGAIN) return;
      break;
    }
  }
  to->Close();
}

struct Child {
  pid_t pid;
  std::optional<int> wait_status;

  // Whether it has ended; an error when its end cannot be known.
  StatusOr<bool> Ended() {
    int status = 0;
    const pid_t ended = waitpid(pid, &status, WNOHANG);
    if (ended == 0 || (ended < 0 && errno == EINTR)) return false;
    if (ended < 0) return Error(StatusCode::kInternal, "cannot wait for child process {}: {}", pid, strerror(errno));
    wait_status = status;
    return true;
  }
};

void WaitForEvents(const Streams& streams, std::string_view input, Clock::time_point deadline) {
  std::array<pollfd, 3> events = {pollfd{input.empty() ? -1 : streams.in.ours.get(), POLLOUT, 0},
                                  pollfd{streams.out.ours.get(), POLLIN, 0}, pollfd{streams.err.ours.get(), POLLIN, 0}};
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  poll(events.data(), events.size(), static_cast<int>(std::clamp<int64_t>(left, 0, kTickMs)));
}

Status Kill(Child* child) {
  kill(-child->pid, SIGKILL);
  for (const auto end = Clock::now() + kReapLimit; Clock::now() < end;) {
    SY_ASSIGN_OR_RETURN(const bool ended, child->Ended());
    if (ended) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return absl::OkStatus();
}

}  // namespace

std::string SubprocessResult::How() const {
  if (timed_out) return fmt::format("no answer within {} s", static_cast<double>(limit.count()) / 1000);
  if (signal != 0) {
    const char* name = sigdescr_np(signal);
    return fmt::format("signal {} ({})", signal, name == nullptr ? "unknown" : name);
  }
  return fmt::format("exit code {}", exit_code);
}

StatusOr<SubprocessResult> RunSubprocess(const std::vector<std::string>& argv, const std::string& input,
                                         std::chrono::milliseconds limit, const std::atomic<bool>* cancelled) {
  if (argv.empty() || argv[0].empty()) return Error(StatusCode::kInternal, "a child process needs a program to run");
  const Clock::time_point deadline = Clock::now() + limit;
  Streams streams;
  for (Channel* channel : {&streams.in, &streams.out, &streams.err}) {
    SY_ASSIGN_OR_RETURN(*channel, MakeChannel());
  }
  SY_ASSIGN_OR_RETURN(const pid_t pid, Spawn(argv, streams));
  for (Channel* channel : {&streams.in, &streams.out, &streams.err}) channel->theirs.Close();

  Child child{.pid = pid, .wait_status = {}};
  SubprocessResult result;
  result.limit = limit;
  std::string_view rest = input;
  while (!child.wait_status.has_value() && !result.timed_out) {
    Feed(&streams.in.ours, &rest);
    Drain(&streams.out.ours, &result.out);
    Drain(&streams.err.ours, &result.err);
    SY_ASSIGN_OR_RETURN(const bool ended, child.Ended());
    if (ended) break;
    if (cancelled != nullptr && cancelled->load()) {
      SY_RETURN_IF_ERROR(Kill(&child));
      return Error(StatusCode::kCancelled, "{}: interrupted", argv[0]);
    }
    if (Clock::now() >= deadline) {
      result.timed_out = true;
      SY_RETURN_IF_ERROR(Kill(&child));
    } else {
      WaitForEvents(streams, rest, deadline);
    }
  }
  // What it wrote last. Whoever else holds the streams is not waited for.
  Drain(&streams.out.ours, &result.out);
  Drain(&streams.err.ours, &result.err);
  KeepEnd(&result.out);
  KeepEnd(&result.err);
  if (!result.timed_out && WIFEXITED(*child.wait_status)) result.exit_code = WEXITSTATUS(*child.wait_status);
  if (!result.timed_out && WIFSIGNALED(*child.wait_status)) result.signal = WTERMSIG(*child.wait_status);
  return result;
}

std::string OwnExecutable() {
  const std::filesystem::path self = "/proc/self/exe";
  std::error_code error;
  const std::filesystem::path resolved = std::filesystem::read_symlink(self, error);
  // A program that was replaced while it runs has no path any more; the link itself still starts it.
  if (error || !std::filesystem::exists(resolved, error)) return self;
  return resolved;
}

}  // namespace switchyard
