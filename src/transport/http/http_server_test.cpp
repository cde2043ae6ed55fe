// What a well-behaved client sees.
#include "transport/http/http_server.h"

#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "transport/http/test_client.h"

namespace switchyard {
namespace {

using ::testing::HasSubstr;

class HttpServerTest : public ::testing::Test {
 protected:
  std::unique_ptr<HttpServer> StartServer(HttpServerOptions options = {}) {
    options.workers = 2;
    auto server = HttpServer::Start(options, handler_);
    EXPECT_TRUE(server.ok()) << server.status();
    return server.ok() ? *std::move(server) : nullptr;
  }

  TestHandler handler_;
};

TEST_F(HttpServerTest, KeepsTheConnectionForFurtherRequests) {
  const auto server = StartServer();
  TestClient client(server->address());
  for (int i = 0; i < 20; ++i) {
    const std::string body = "body " + std::to_string(i);
    const ClientReply reply = client.Exchange(Post("/echo", body));
    EXPECT_EQ(reply.code, 200);
    EXPECT_EQ(reply.body, body);
    EXPECT_EQ(TestClient::Header(reply, "Connection"), "");
  }
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInOrder) {
  const auto server = StartServer();
  TestClient client(server->address());
  std::string all;
  for (int i = 0; i < 50; ++i) all += i % 2 ? Post("/echo", "p" + std::to_string(i)) : Get("/g" + std::to_string(i));
  client.Send(all);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(client.Receive().body, (i % 2 ? "p" : "/g") + std::to_string(i));
}

TEST_F(HttpServerTest, PipelinedRequestsWaitForTheOneInFlight) {
  const auto server = StartServer();
  TestClient client(server->address());
  client.Send(Get("/hold") + Post("/echo", std::string(30000, 'x')) + Get("/last"));
  const auto held = handler_.TakeHeld();
  HttpReply reply;
  reply.body = Frame("held");
  held->responder->Reply(std::move(reply));
  EXPECT_EQ(client.Receive().body, "held");
  EXPECT_EQ(client.Receive().body, std::string(30000, 'x'));
  EXPECT_EQ(client.Receive().body, "/last");
}

TEST_F(HttpServerTest, TakesRequestsInAnyPieces) {
  const auto server = StartServer();
  TestClient client(server->address());
  const std::string request = Post("/echo", "0123456789");
  for (const char c : request) ASSERT_TRUE(client.Send(std::string_view(&c, 1)));
  EXPECT_EQ(client.Receive().body, "0123456789");
}

TEST_F(HttpServerTest, TakesLargeBodiesAndGivesLargeReplies) {
  const auto server = StartServer();
  TestClient client(server->address());
  std::string body(size_t{3} << 20, '\0');
  for (size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 7);
  std::thread sender([&] { client.Send(Post("/echo", body) + Get("/big")); });
  EXPECT_TRUE(client.Receive().body == body);
  const ClientReply big = client.Receive();
  sender.join();
  ASSERT_EQ(big.body.size(), (size_t{8} << 20) + 2);
  EXPECT_EQ(big.body.front(), '<');
  EXPECT_EQ(big.body.back(), '>');
}

TEST_F(HttpServerTest, TakesChunkedBodies) {
  const auto server = StartServer();
  TestClient client(server->address());
  const std::string head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(client.Exchange(head + "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nTrailer: t\r\n\r\n").body, "hello world");
  std::string large = head;
  for (int i = 0; i < 100; ++i) large += "1000\r\n" + std::string(4096, static_cast<char>('a' + i % 26)) + "\r\n";
  EXPECT_EQ(client.Exchange(large + "0\r\n\r\n").body.size(), 409600U);
  EXPECT_EQ(client.Exchange(Get("/after")).body, "/after");
}

TEST_F(HttpServerTest, BinaryPartOfABodyIsAligned) {
  const auto server = StartServer();
  TestClient client(server->address());
  for (const size_t json : {0, 1, 63, 64, 65, 200}) {
    const std::string header = "Inference-Header-Content-Length: " + std::to_string(json) + "\r\n";
    EXPECT_EQ(client.Exchange(Post("/address", std::string(1000, 'x'), header)).body, "0") << json;
    EXPECT_EQ(client.Exchange(Post("/address", std::string(size_t{3} << 20, 'x'), header)).body, "0") << json;
  }
}

TEST_F(HttpServerTest, SaysContinueWhenAsked) {
  const auto server = StartServer();
  TestClient client(server->address());
  client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  EXPECT_EQ(client.Receive().code, 100);
  client.Send("body");
  EXPECT_EQ(client.Receive().body, "body");
  EXPECT_EQ(client.Exchange(Post("/echo", "x", "Expect: the-impossible\r\n")).code, 417);
}

TEST_F(HttpServerTest, HeadHasTheLengthButNoBody) {
  const auto server = StartServer();
  TestClient client(server->address());
  client.Send("HEAD /abc HTTP/1.1\r\nHost: x\r\n\r\n");
  const ClientReply reply = client.Receive(true);
  EXPECT_EQ(reply.code, 200);
  EXPECT_EQ(TestClient::Header(reply, "Content-Length"), "4");
  EXPECT_THAT(TestClient::Header(reply, "Date"),
              testing::MatchesRegex("(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3][0-9] [A-Z][a-z][a-z] 20[0-9][0-9] "
                                    "[0-2][0-9]:[0-5][0-9]:[0-6][0-9] GMT"));
  EXPECT_EQ(client.Exchange(Get("/next")).body, "/next");
}

TEST_F(HttpServerTest, SpeaksHttp10) {
  const auto server = StartServer();
  TestClient once(server->address());
  EXPECT_EQ(once.Exchange("GET /a HTTP/1.0\r\n\r\n").body, "/a");
  EXPECT_TRUE(once.AtEnd());
  TestClient kept(server->address());
  const ClientReply reply = kept.Exchange("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(TestClient::Header(reply, "Connection"), "keep-alive");
  EXPECT_EQ(kept.Exchange("GET /b HTTP/1.0\r\n\r\n").body, "/b");
}

TEST_F(HttpServerTest, ClosesWhenAsked) {
  const auto server = StartServer();
  TestClient client(server->address());
  const ClientReply reply = client.Exchange(Get("/a", "Connection: close\r\n"));
  EXPECT_EQ(TestClient::Header(reply, "Connection"), "close");
  EXPECT_TRUE(client.AtEnd());
}

std::string CorsOf(const ClientReply& reply) {
  std::string all;
  for (const char* const name : {"Allow-Origin", "Allow-Credentials", "Allow-Methods", "Allow-Headers", "Expose-Headers"}) {
    const std::string value = TestClient::Header(reply, "Access-Control-" + std::string(name));
    if (!value.empty()) all += std::string(name) + ": " + value + "; ";
  }
  if (const std::string vary = TestClient::Header(reply, "Vary"); !vary.empty()) all += "Vary: " + vary + "; ";
  return all;
}

constexpr char kExposed[] = "Expose-Headers: Inference-Header-Content-Length, traceparent, tracestate; ";

TEST_F(HttpServerTest, PagesOfAnyOriginMayCall) {
  const auto server = StartServer();
  TestClient client(server->address());
  const std::string origin = "Origin: https://a.example\r\n";
  EXPECT_EQ(CorsOf(client.Exchange(Get("/a"))), "");
  EXPECT_EQ(CorsOf(client.Exchange(Get("/a", origin))), std::string("Allow-Origin: *; ") + kExposed);
  EXPECT_EQ(CorsOf(client.Exchange(Post("/echo", "x", origin))), std::string("Allow-Origin: *; ") + kExposed);
  EXPECT_EQ(CorsOf(client.Exchange(Get("/a"))), "");
  EXPECT_EQ(CorsOf(client.Exchange("OPTIONS /a HTTP/1.1\r\nHost: x\r\n" + origin +
                                   "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x\r\n\r\n")),
            "Allow-Origin: *; Allow-Methods: *; Allow-Headers: *; ");
  EXPECT_EQ(CorsOf(client.Exchange("OPTIONS /a HTTP/1.1\r\nHost: x\r\n\r\n")), "");
  // Also where the listener itself answers: the page is to see why.
  const ClientReply refused = client.Exchange(Post("/echo", "x", origin + "Transfer-Encoding: identity\r\n"));
  EXPECT_EQ(refused.code, 400);
  EXPECT_EQ(CorsOf(refused), std::string("Allow-Origin: *; ") + kExposed);
}

TEST_F(HttpServerTest, PagesOfOtherOriginsAreToldNothing) {
  HttpServerOptions options;
  options.cors = {
      .origins = {"https://a.example", "http://b.example:81"}, .methods = "GET, POST", .headers = "", .credentials = true};
  const auto server = StartServer(options);
  TestClient client(server->address());
  const auto call = [&](const std::string& method, const std::string& origin) {
    return CorsOf(client.Exchange(method + " /a HTTP/1.1\r\nHost: x\r\nOrigin: " + origin + "\r\n\r\n"));
  };
  EXPECT_EQ(call("GET", "http://b.example:81"),
            std::string("Allow-Origin: http://b.example:81; Allow-Credentials: true; ") + kExposed + "Vary: Origin; ");
  EXPECT_EQ(call("OPTIONS", "https://a.example"),
            "Allow-Origin: https://a.example; Allow-Credentials: true; Allow-Methods: GET, POST; Vary: Origin; ");
  for (const std::string other : {"http://a.example", "https://a.example.evil", "http://b.example", "null"}) {
    EXPECT_EQ(call("GET", other), "Vary: Origin; ");
    EXPECT_EQ(call("OPTIONS", other), "Vary: Origin; ");
  }
}

TEST_F(HttpServerTest, WithoutOriginsNothingIsSaid) {
  HttpServerOptions options;
  options.cors.origins.clear();
  const auto server = StartServer(options);
  TestClient client(server->address());
  EXPECT_EQ(CorsOf(client.Exchange(Get("/a", "Origin: https://a.example\r\n"))), "");
}

TEST_F(HttpServerTest, AnswersAClientThatClosedItsSide) {
  const auto server = StartServer();
  TestClient client(server->address());
  client.Send(Get("/a") + Get("/b"));
  client.ShutdownSend();
  EXPECT_EQ(client.Receive().body, "/a");
  EXPECT_EQ(client.Receive().body, "/b");
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(HttpServerTest, CancelsTheCallOfAClientThatWentAway) {
  const auto server = StartServer();
  auto client = std::make_unique<TestClient>(server->address());
  client->Send(Get("/hold"));
  const auto held = handler_.TakeHeld();
  client.reset();
  EXPECT_TRUE(held->GoneWithin(std::chrono::seconds(10)));
  held->responder->Reply(HttpReply());
}

TEST_F(HttpServerTest, RepliesFromAnotherThread) {
  const auto server = StartServer();
  TestClient client(server->address());
  for (int i = 0; i < 200; ++i) {
    client.Send(Get("/hold"));
    const auto held = handler_.TakeHeld();
    std::thread([held] {
      held->responder->Run([responder = held->responder] {
        HttpReply reply;
        reply.body = Frame("late");
        responder->Reply(std::move(reply));
      });
    }).join();
    EXPECT_EQ(client.Receive().body, "late");
    EXPECT_FALSE(held->GoneWithin(std::chrono::milliseconds(0)));
  }
}

TEST_F(HttpServerTest, AHandlerThatThrowsIsAnErrorOfTheServer) {
  const auto server = StartServer();
  TestClient client(server->address());
  const ClientReply reply = client.Exchange(Get("/throw"));
  EXPECT_EQ(reply.code, 500);
  EXPECT_THAT(reply.body, HasSubstr("{\"error\":"));
}

TEST_F(HttpServerTest, DrainDoesNotWaitForRequestsThatDoNotCome) {
  const auto server = StartServer();
  TestClient header(server->address()), body(server->address());
  EXPECT_EQ(header.Exchange(Get("/first")).code, 200);
  EXPECT_EQ(body.Exchange(Get("/first")).code, 200);
  header.Send("GET /never HT");
  body.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
  EXPECT_EQ(TestClient(server->address()).Exchange(Get("/after")).code, 200);
  std::thread drain([&] { EXPECT_TRUE(server->Drain(std::chrono::steady_clock::now() + std::chrono::seconds(15))); });
  EXPECT_TRUE(header.AtEnd());
  EXPECT_EQ(body.Receive().code, 408);
  body.Close();
  drain.join();
}

TEST_F(HttpServerTest, DrainFinishesWhatIsInFlight) {
  const auto server = StartServer();
  TestClient idle(server->address());
  EXPECT_EQ(idle.Exchange(Get("/a")).body, "/a");
  TestClient busy(server->address());
  busy.Send(Get("/hold"));
  const auto held = handler_.TakeHeld();
  EXPECT_FALSE(server->Drain(std::chrono::steady_clock::now() + std::chrono::milliseconds(20)));
  EXPECT_TRUE(idle.AtEnd());
  EXPECT_ANY_THROW(TestClient{server->address()});
  held->responder->Reply(HttpReply());
  const ClientReply reply = busy.Receive();
  EXPECT_EQ(reply.code, 200);
  EXPECT_EQ(TestClient::Header(reply, "Connection"), "close");
  EXPECT_TRUE(server->Drain(std::chrono::steady_clock::now() + std::chrono::seconds(10)));
}

TEST_F(HttpServerTest, RepliesAfterTheEndAreDropped) {
  auto server = StartServer();
  TestClient client(server->address());
  client.Send(Get("/hold"));
  const auto held = handler_.TakeHeld();
  server.reset();
  EXPECT_TRUE(held->GoneWithin(std::chrono::milliseconds(0)));
  held->responder->Reply(HttpReply());
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(HttpServerTest, ListensOnUnixSockets) {
  const std::string path = (std::filesystem::temp_directory_path() / ("sy_http_" + std::to_string(getpid()))).string();
  HttpServerOptions options;
  options.hosts = {"unix:" + path};
  {
    // Left behind by a server that crashed.
    const int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    path.copy(name.sun_path, path.size());
    ASSERT_EQ(bind(stale, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
    close(stale);
  }
  auto server = StartServer(options);
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->address(), "unix:" + path);
  TestClient client(server->address());
  EXPECT_EQ(client.Exchange(Get("/a")).body, "/a");
  EXPECT_EQ(HttpServer::Start(options, handler_).status().code(), StatusCode::kUnavailable);
  server.reset();
  EXPECT_FALSE(std::filesystem::exists(path));
  std::ofstream(path) << "a file";
  EXPECT_EQ(HttpServer::Start(options, handler_).status().code(), StatusCode::kUnavailable);
  std::filesystem::remove(path);
}

TEST_F(HttpServerTest, SaysWhichAddressIsTaken) {
  const auto server = StartServer();
  HttpServerOptions options;
  options.port = static_cast<uint16_t>(std::stoi(server->address().substr(server->address().rfind(':') + 1)));
  const auto second = HttpServer::Start(options, handler_);
  EXPECT_EQ(second.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(std::string(Message(second.status())), HasSubstr(server->address()));
  options.hosts = {"no such host"};
  EXPECT_EQ(HttpServer::Start(options, handler_).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace switchyard
