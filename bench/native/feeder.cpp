#include "feeder.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace switchyard::bench {
namespace {

constexpr size_t kMostAnswered = 64 << 10;

int Checked(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

// In the child: never returns.
[[noreturn]] void Feed(const sockaddr_in& address, size_t bytes, int core) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(static_cast<size_t>(core), &cores);
  const int peer = socket(AF_INET, SOCK_STREAM, 0);
  if (sched_setaffinity(0, sizeof cores, &cores) != 0 || peer < 0 ||
      connect(peer, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    _exit(1);
  }
  const std::vector<char> body(bytes);
  std::array<char, kMostAnswered> answers;
  while (true) {
    for (size_t sent = 0; sent < bytes;) {
      const ssize_t now = send(peer, body.data() + sent, bytes - sent, MSG_NOSIGNAL);
      if (now <= 0) _exit(0);
      sent += static_cast<size_t>(now);
    }
    while (recv(peer, answers.data(), answers.size(), MSG_DONTWAIT) > 0) {
    }
  }
}

}  // namespace

Feeder::Feeder(size_t bytes, int core) {
  const int listener = Checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  Checked(bind(listener, reinterpret_cast<const sockaddr*>(&address), size), "bind");
  Checked(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
  Checked(listen(listener, 1), "listen");
  child_ = Checked(fork(), "fork");
  if (child_ == 0) Feed(address, bytes, core);
  socket_ = Checked(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "accept");
  close(listener);
  const int yes = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

Feeder::~Feeder() {
  kill(child_, SIGKILL);
  waitpid(child_, nullptr, 0);
  close(socket_);
}

void Feeder::Read(std::span<char> to) const {
  for (size_t got = 0; got < to.size();) {
    const ssize_t now = recv(socket_, to.data() + got, to.size() - got, 0);
    if (now <= 0) throw std::runtime_error("the feeding process has ended; is its core one of this machine?");
    got += static_cast<size_t>(now);
  }
}

void Feeder::Answer(std::span<const char> bytes) const {
  for (bytes = bytes.first(std::min(bytes.size(), kMostAnswered)); !bytes.empty();) {
    const ssize_t now = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (now <= 0) throw std::runtime_error("the feeding process has ended");
    bytes = bytes.subspan(static_cast<size_t>(now));
  }
}

}  // namespace switchyard::bench
