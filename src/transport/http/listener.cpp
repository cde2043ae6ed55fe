#include "transport/http/listener.h"

#include <unistd.h>

#include <tuple>
#include <type_traits>
#include <utility>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include "base/log.h"
#include "base/socket_file.h"
#include "transport/http/connection.h"

namespace switchyard {
namespace {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
using Tcp = asio::ip::tcp;
using Local = asio::local::stream_protocol;

constexpr std::string_view kUnixPrefix = "unix:";
constexpr int kBacklog = 4096;
// Until a descriptor may be free again.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
// Connections above the limit that are told so at the same time; more are closed without a word.
constexpr uint32_t kRefusals = 64;

template <typename Protocol>
class SocketListener final : public Listener, public std::enable_shared_from_this<SocketListener<Protocol>> {
 public:
  SocketListener(std::shared_ptr<ServerState> state, Workers workers)
      : state_(std::move(state)), workers_(std::move(workers)), acceptor_(workers_[0]->io()), pause_(workers_[0]->io()) {}
  ~SocketListener() override { RemoveFile(); }

  Status Open(const typename Protocol::endpoint& endpoint, std::string name) {
    name_ = std::move(name);
    ErrorCode error;
    acceptor_.open(endpoint.protocol(), error);
    if constexpr (std::is_same_v<Protocol, Tcp>) {
      if (!error) acceptor_.set_option(Tcp::acceptor::reuse_address(true), error);
      if (!error && endpoint.address().is_v6()) acceptor_.set_option(asio::ip::v6_only(true), error);
    }
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(kBacklog, error);
    if (error) {
      return Error(StatusCode::kUnavailable, "Cannot listen on {}: {}; choose another address or port", name_, error.message());
    }
    if constexpr (std::is_same_v<Protocol, Tcp>) {
      const auto bound = acceptor_.local_endpoint();
      port_ = bound.port();
      const std::string host = bound.address().to_string();
      name_ = bound.address().is_v6() ? fmt::format("[{}]:{}", host, port_) : fmt::format("{}:{}", host, port_);
    } else {
      file_ = endpoint.path();
    }
    return Status();
  }

  std::string address() const override { return name_; }
  uint16_t port() const override { return port_; }

  void Accept() override {
    if (waiting_ || !acceptor_.is_open()) return;
    const std::shared_ptr<Worker>& worker = workers_[next_++ % workers_.size()];
    acceptor_.async_accept(worker->io(), [wait = Wait(this->shared_from_this()), worker](
                                             const ErrorCode& error, typename Protocol::socket socket) mutable {
      wait.End()->OnAccept(error, std::move(socket), worker);
    });
  }

  void Close() override {
    ErrorCode ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    RemoveFile();
  }

 private:
  // Keeps the listener while it waits for something, and says that it does: also when the library drops the handler uncalled,
  // as it does without memory for the socket that came.
  class Wait {
   public:
    explicit Wait(std::shared_ptr<SocketListener> listener) : listener_(std::move(listener)) { listener_->waiting_ = true; }
    Wait(Wait&&) = default;
    ~Wait() {
      if (listener_) End();
    }
    std::shared_ptr<SocketListener> End() {
      listener_->waiting_ = false;
      return std::move(listener_);
    }

   private:
    std::shared_ptr<SocketListener> listener_;
  };

  void OnAccept(const ErrorCode& error, typename Protocol::socket socket, const std::shared_ptr<Worker>& worker) {
    if (!acceptor_.is_open()) return;
    if (error) {
      // Out of descriptors, most likely. The waiting connection stays in the backlog, so that trying at once would spin.
      LogWarning("Cannot take a connection on {}: {}; trying again shortly", name_, error.message());
      pause_.expires_after(kAcceptPause);
      pause_.async_wait([wait = Wait(this->shared_from_this())](const ErrorCode& stopped) mutable {
        const auto self = wait.End();
        if (!stopped) self->Accept();
      });
      return;
    }
    if constexpr (std::is_same_v<Protocol, Tcp>) {
      ErrorCode ignored;
      socket.set_option(Tcp::no_delay(true), ignored);
    }
    const uint32_t count = state_->connections.load();
    if (count < state_->options.max_connections + kRefusals) {
      const bool refuse = count >= state_->options.max_connections;
      auto connection = std::make_shared<Connection>(worker, Connection::Socket(std::move(socket)));
      // Without memory for that it is closed.
      std::ignore = worker->Post([connection = std::move(connection), refuse] {
        if (!refuse) return connection->Start();
        connection->Refuse(503, "The server has as many connections as it may have (--max_connections); try again later");
      });
    }
    Accept();
  }

  void RemoveFile() {
    if (!file_.empty()) unlink(file_.c_str());
    file_.clear();
  }

  const std::shared_ptr<ServerState> state_;
  const Workers workers_;
  typename Protocol::acceptor acceptor_;
  asio::steady_timer pause_;
  std::string name_;
  std::string file_;
  uint16_t port_ = 0;
  size_t next_ = 0;
  bool waiting_ = false;
};

StatusOr<std::shared_ptr<Listener>> ListenLocal(const std::string& path, std::shared_ptr<ServerState> state, Workers workers) {
  SY_RETURN_IF_ERROR(ClearSocketFile(path));
  auto listener = std::make_shared<SocketListener<Local>>(std::move(state), std::move(workers));
  SY_RETURN_IF_ERROR(listener->Open(Local::endpoint(path), fmt::format("unix:{}", path)));
  return std::shared_ptr<Listener>(std::move(listener));
}

}  // namespace

StatusOr<std::shared_ptr<Listener>> Listen(const std::string& host, uint16_t port, std::shared_ptr<ServerState> state,
                                           Workers workers) {
  if (host.starts_with(kUnixPrefix)) return ListenLocal(host.substr(kUnixPrefix.size()), std::move(state), std::move(workers));
  ErrorCode error;
  std::string literal = host;
  if (literal.size() > 2 && literal.front() == '[' && literal.back() == ']') literal = literal.substr(1, literal.size() - 2);
  asio::ip::address address = asio::ip::make_address(literal, error);
  if (error) {
    Tcp::resolver resolver(workers[0]->io());
    const auto found = resolver.resolve(host, "", Tcp::resolver::passive, error);
    if (error || found.empty()) {
      return InvalidArgument("Cannot listen on {}: it is neither an address nor a name that resolves to one ({})", host,
                             error.message());
    }
    address = found.begin()->endpoint().address();
  }
  auto listener = std::make_shared<SocketListener<Tcp>>(std::move(state), std::move(workers));
  SY_RETURN_IF_ERROR(listener->Open(Tcp::endpoint(address, port), fmt::format("{}:{}", host, port)));
  return std::shared_ptr<Listener>(std::move(listener));
}

}  // namespace switchyard
