#include "base/socket_file.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace switchyard {
namespace {

// Errno of connecting to the socket, 0 when that works. A server whose backlog is full is EAGAIN.
int TryToConnect(const sockaddr_un& address) {
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (probe < 0) return errno;
  const int error = connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ? 0 : errno;
  close(probe);
  return error;
}

}  // namespace

Status ClearSocketFile(const std::string& path) {
  sockaddr_un address{};
  constexpr size_t kLongestPath = sizeof(address.sun_path) - 1;
  if (path.empty() || path.size() > kLongestPath) {
    return InvalidArgument("Cannot listen on unix:{} - Expected: a path of 1 to {} characters; Actual: {}", path, kLongestPath,
                           path.size());
  }
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return absl::OkStatus();
  if (!S_ISSOCK(info.st_mode)) {
    return Error(StatusCode::kUnavailable,
                 "Cannot listen on unix:{}: a file that is no socket is there; remove it or choose another path", path);
  }
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, kLongestPath);
  const int error = TryToConnect(address);
  if (error == 0 || error == EAGAIN) {
    return Error(StatusCode::kUnavailable, "Cannot listen on unix:{}: another server listens there; choose another path", path);
  }
  if (error == ENOENT) return absl::OkStatus();
  if (error == ECONNREFUSED && (unlink(path.c_str()) == 0 || errno == ENOENT)) return absl::OkStatus();
  return Error(StatusCode::kUnavailable,
               "Cannot listen on unix:{}: a socket is there that cannot be replaced ({}); remove it or choose another path",
               path, std::generic_category().message(error == ECONNREFUSED ? errno : error));
}

}  // namespace switchyard
