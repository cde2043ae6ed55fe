#include "config/listen_address.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>

#include "config/text.h"

namespace switchyard {
namespace {

constexpr std::string_view kUnix = "unix:";

bool IsUnix(std::string_view host) { return host.substr(0, kUnix.size()) == kUnix; }

// A name of digits and dots alone was meant as an IPv4 address, and a faulty one.
bool IsHostName(std::string_view host) {
  if (host.empty() || host.size() > 255 || host.front() == '-' || host.front() == '.') return false;
  const bool letters = std::any_of(host.begin(), host.end(), [](unsigned char c) { return c != '.' && (c < '0' || c > '9'); });
  return letters && std::all_of(host.begin(), host.end(), [](unsigned char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                  c == '_';
         });
}

StatusOr<std::string> ParseHost(std::string_view flag, std::string_view text) {
  std::string host(Trim(text));
  if (IsUnix(host)) {
    const size_t longest = sizeof(sockaddr_un::sun_path) - 1;
    const size_t length = host.size() - kUnix.size();
    if (length == 0 || length > longest) {
      return InvalidArgument("--{}: expected unix: and a path of 1 to {} bytes, got {}", flag, longest, Quote(host));
    }
    return host;
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  unsigned char address[sizeof(in6_addr)];
  if (inet_pton(AF_INET, host.c_str(), address) == 1 || inet_pton(AF_INET6, host.c_str(), address) == 1 || IsHostName(host)) {
    return host;
  }
  return InvalidArgument("--{}: expected IPv4 addresses, IPv6 addresses, host names or unix:/path, separated by commas; got {}",
                         flag, Quote(text));
}

StatusOr<uint16_t> ParsePort(std::string_view flag, std::string_view text) {
  uint16_t port = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || error != std::errc() || stop != text.data() + text.size()) {
    return InvalidArgument("--{}: expected a port from 0 (off) to 65535, or \"auto\" for a free one; got {}", flag,
                           Quote(text));
  }
  return port;
}

}  // namespace

StatusOr<ListenAddress> ParseListenAddress(const ListenFlags& flags) {
  ListenAddress address;
  const std::string port = flags.port.value_or("0");
  if (port == "auto") {
    address.enabled = true;
  } else {
    SY_ASSIGN_OR_RETURN(address.port, ParsePort(flags.port_flag, port));
    address.enabled = address.port != 0;
  }
  if (!flags.bind.has_value()) return address;

  address.hosts.clear();
  for (const std::string_view part : Split(*flags.bind, ',')) {
    SY_ASSIGN_OR_RETURN(std::string host, ParseHost(flags.bind_flag, part));
    if (IsUnix(host) && std::find(address.hosts.begin(), address.hosts.end(), host) != address.hosts.end()) {
      return InvalidArgument("--{} lists {} twice; name it once", flags.bind_flag, Quote(host));
    }
    address.hosts.push_back(std::move(host));
  }
  const auto is_unix = [](const std::string& host) { return IsUnix(host); };
  const bool any_unix = std::any_of(address.hosts.begin(), address.hosts.end(), is_unix);
  if (any_unix && !address.enabled) {
    const auto tcp = std::find_if_not(address.hosts.begin(), address.hosts.end(), is_unix);
    if (tcp != address.hosts.end()) {
      return InvalidArgument("--{} lists {}, which needs a port; give --{} a port or \"auto\"", flags.bind_flag, Quote(*tcp),
                             flags.port_flag);
    }
    address.enabled = true;
  }
  return address;
}

}  // namespace switchyard
