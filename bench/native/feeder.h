// The least that a server does whose clients are other processes: it takes each call's bytes from a socket.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>

namespace switchyard::bench {

// A process on the processor `core` that sends so many bytes over TCP, again and again, without waiting for answers but for
// room in the socket. Made before there are other threads, since it forks. Throws std::system_error.
class Feeder {
 public:
  Feeder(size_t bytes, int core);
  ~Feeder();
  Feeder(const Feeder&) = delete;
  Feeder& operator=(const Feeder&) = delete;

  // The next bytes of it. Blocks. Throws std::runtime_error when the process has ended.
  void Read(std::span<char> to) const;
  // Something that it takes and throws away: at most 64 KiB, so that both can always go on.
  void Answer(std::span<const char> bytes) const;

 private:
  int socket_ = -1;
  pid_t child_ = -1;
};

}  // namespace switchyard::bench
