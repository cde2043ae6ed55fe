// What a hostile or unlucky client sees, and that the server goes on serving.
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "transport/http/test_server.h"

namespace switchyard {
namespace {

using ::testing::HasSubstr;

class HttpLimitsTest : public HttpListenerTest {
 protected:
  void StartServer(HttpServerOptions options = {}) {
    options.workers = 2;
    Listen(options);
  }
};

TEST_F(HttpLimitsTest, BodiesAboveTheLimitAreRefusedBeforeTheyAreRead) {
  HttpServerOptions options;
  options.max_body_bytes = 1000;
  StartServer(options);
  TestClient announced(server_->address());
  announced.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n");
  const ClientReply reply = announced.Receive();
  EXPECT_EQ(reply.code, 413);
  EXPECT_THAT(reply.body, HasSubstr("{\"error\":\"Request body is larger than 1000 bytes (--max_body_bytes)\"}"));
  EXPECT_EQ(TestClient::Header(reply, "Connection"), "close");

  TestClient chunked(server_->address());
  chunked.Send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 6; ++i) chunked.Send("c8\r\n" + std::string(200, 'x') + "\r\n");
  EXPECT_EQ(chunked.Receive().code, 413);

  TestClient whole(server_->address());
  EXPECT_EQ(whole.Exchange(Post("/echo", std::string(1000, 'x'))).code, 200);
  EXPECT_EQ(whole.Exchange(Post("/echo", std::string(200000, 'x'))).code, 413);
  ExpectServing();
}

TEST_F(HttpLimitsTest, HeadersAboveTheLimitAreRefused) {
  StartServer();
  TestClient client(server_->address());
  client.Send("GET / HTTP/1.1\r\nHost: x\r\nLong: " + std::string(70000, 'y') + "\r\n\r\n");
  EXPECT_EQ(client.Receive().code, 431);
  TestClient large(server_->address());
  EXPECT_EQ(large.Exchange(Get("/ok", "Long: " + std::string(50000, 'y') + "\r\n")).body, "/ok");
  EXPECT_EQ(large.Exchange(Get("/again")).body, "/again");
  ExpectServing();
}

TEST_F(HttpLimitsTest, FaultyRequestsAreRefused) {
  StartServer();
  const std::vector<std::string> faulty = {
      "garbage\r\n\r\n",
      std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + "\r\n\r\n",
      "GET / HTTX/1.1\r\n\r\n",
      "GET /\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5x\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      std::string("GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n", 30),
      std::string("GET / HTTP/1.1\r\nHost: x\r\nName: a\0b\r\n\r\n", 38),
      "GET / HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: 1\r\nInference-Header-Content-Length: 2\r\n\r\n",
  };
  for (const std::string& request : faulty) {
    TestClient client(server_->address());
    const ClientReply reply = client.Exchange(request);
    EXPECT_EQ(reply.code, 400) << request;
    EXPECT_THAT(reply.body, HasSubstr("{\"error\":"));
    EXPECT_TRUE(client.AtEnd());
  }
  ExpectServing();
}

TEST_F(HttpLimitsTest, WhatIsWrongWithTheHeaderIsNamed) {
  StartServer();
  TestClient version(server_->address());
  const ClientReply reply = version.Exchange("GET / HTTP/2.0\r\nHost: x\r\n\r\n");
  EXPECT_EQ(reply.code, 505);
  EXPECT_THAT(reply.head, HasSubstr("505 HTTP Version Not Supported"));
  TestClient twice(server_->address());
  const std::string length = "Inference-Header-Content-Length: 1\r\n";
  EXPECT_THAT(twice.Exchange(Post("/echo", "a", length + length)).body,
              HasSubstr("Expected one Inference-Header-Content-Length header"));
  TestClient empty(server_->address());
  EXPECT_EQ(empty.Exchange(Post("/echo", "a", "Expect:\r\nContent-Encoding:\r\n")).body, "a");
}

// What is behind such a header is a body to some, and the next request to others: it must not be answered.
TEST_F(HttpLimitsTest, ABodyWhoseEndIsNotCertainIsRefused) {
  StartServer();
  const std::string length = "Content-Length: 4\r\n";
  const std::string chunks = "4\r\nbody\r\n0\r\n\r\n";
  struct Case {
    std::string headers;
    int code;
  };
  const std::vector<Case> cases = {
      {"Transfer-Encoding: identity\r\n", 400},
      {"Transfer-Encoding: identity\r\n" + length, 400},
      {length + "Transfer-Encoding: identity\r\n", 400},
      {length + "Transfer-Encoding: chunked\r\n", 400},
      {"Transfer-Encoding: chunked\r\n" + length, 400},
      {"Transfer-Encoding: xchunked\r\n", 400},
      {"Transfer-Encoding: \"chunked\"\r\n", 400},
      {"Transfer-Encoding: chunked;q=1\r\n", 400},
      {"Transfer-Encoding: chunked, identity\r\n", 400},
      {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 400},
      {"Transfer-Encoding: chunked, chunked\r\n", 400},
      {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400},
      {"Transfer-Encoding:\r\n", 400},
      {"Transfer-Encoding: ,\r\n", 400},
      {"Transfer-Encoding: gzip\r\n", 400},
      {"Transfer-Encoding: gzip, chunked\r\n", 501},
      {"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", 501},
      {"Transfer-Encoding: other, chunked\r\n", 501},
  };
  for (const Case& each : cases) {
    TestClient client(server_->address());
    client.Send("POST /echo HTTP/1.1\r\nHost: x\r\n" + each.headers + "\r\n" + chunks + Get("/smuggled"));
    const ClientReply reply = client.Receive();
    EXPECT_EQ(reply.code, each.code) << each.headers;
    EXPECT_THAT(reply.body, HasSubstr("{\"error\":\"")) << each.headers;
    EXPECT_EQ(TestClient::Header(reply, "Connection"), "close") << each.headers;
    EXPECT_TRUE(client.AtEnd()) << each.headers;
  }
  TestClient old(server_->address());
  EXPECT_EQ(old.Exchange("POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks).code, 400);
  EXPECT_TRUE(old.AtEnd());
  TestClient whole(server_->address());
  for (const std::string name : {"chunked", "CHUNKED", " chunked ", "chunked,", ", chunked"}) {
    const ClientReply reply =
        whole.Exchange("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + name + "\r\n\r\n" + chunks);
    EXPECT_EQ(reply.body, "body") << name;
  }
}

TEST_F(HttpLimitsTest, ARequestHasOneHost) {
  StartServer();
  for (const std::string headers : {"", "Host: x\r\nHost: x\r\n", "Host: x\r\nHost: y\r\n", "Host: a b\r\n", "Host: x/y\r\n",
                                    "Host: u@x\r\n", "Host: \xff\r\n"}) {
    TestClient client(server_->address());
    const ClientReply reply = client.Exchange("GET /a HTTP/1.1\r\n" + headers + "\r\n");
    EXPECT_EQ(reply.code, 400) << headers;
    EXPECT_THAT(reply.body, HasSubstr("Host header")) << headers;
    EXPECT_TRUE(client.AtEnd()) << headers;
  }
  TestClient client(server_->address());
  for (const std::string host : {"", "x", "x:80", "[::1]:80", "a_b.c-d"}) {
    EXPECT_EQ(client.Exchange("GET /a HTTP/1.1\r\nHost: " + host + "\r\n\r\n").body, "/a") << host;
  }
  EXPECT_EQ(TestClient(server_->address()).Exchange("GET /a HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n").code, 400);
}

TEST_F(HttpLimitsTest, SlowHeadersAndBodiesTimeOut) {
  HttpServerOptions options;
  options.header_timeout_ms = 40;
  options.body_timeout_ms = 40;
  options.idle_timeout_ms = 40;
  StartServer(options);
  TestClient header(server_->address());
  header.Send("GET / HTTP/1.1\r\nHost");
  EXPECT_EQ(header.Receive().code, 408);
  TestClient body(server_->address());
  body.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc");
  EXPECT_EQ(body.Receive().code, 408);
  TestClient large(server_->address());
  large.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + std::string(50000, 'x'));
  EXPECT_EQ(large.Receive().code, 408);
  TestClient chunk(server_->address());
  chunk.Send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
  EXPECT_EQ(chunk.Receive().code, 408);
  TestClient silent(server_->address());
  EXPECT_TRUE(silent.AtEnd());
  TestClient idle(server_->address());
  EXPECT_EQ(idle.Exchange(Get("/a")).body, "/a");
  EXPECT_TRUE(idle.AtEnd());
}

// Large pieces are waited for, but not longer than the client is silent.
TEST_F(HttpLimitsTest, ALargeBodyMayComeSlowly) {
  HttpServerOptions options;
  options.body_timeout_ms = 400;
  StartServer(options);
  TestClient client(server_->address());
  const std::string piece(10000, 'x');
  client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n");
  for (int i = 0; i < 30; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // a fast one sends everything before the limit
    client.Send(piece);
  }
  const ClientReply reply = client.Receive();
  EXPECT_EQ(reply.code, 200);
  EXPECT_EQ(reply.body.size(), 300000u);
  EXPECT_EQ(client.Exchange(Get("/alive")).body, "/alive");
}

TEST_F(HttpLimitsTest, ACallInFlightHasNoTimeoutOfTheListener) {
  HttpServerOptions options;
  options.header_timeout_ms = 20;
  options.body_timeout_ms = 20;
  options.idle_timeout_ms = 20;
  StartServer(options);
  TestClient client(server_->address());
  client.Send(Get("/hold"));
  const auto held = handler_.TakeHeld();
  EXPECT_FALSE(held->GoneWithin(std::chrono::milliseconds(100)));
  held->responder->Reply(HttpReply());
  EXPECT_EQ(client.Receive().code, 200);
}

TEST_F(HttpLimitsTest, AReaderThatStallsIsDropped) {
  HttpServerOptions options;
  options.body_timeout_ms = 40;
  StartServer(options);
  TestClient client(server_->address());
  for (int i = 0; i < 4; ++i) client.Send(Get("/big"));
  EXPECT_TRUE(server_->Drain(std::chrono::steady_clock::now() + std::chrono::seconds(10)));
}

TEST_F(HttpLimitsTest, ABodyThatEndsEarlyIsRefused) {
  StartServer();
  TestClient client(server_->address());
  client.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nabc");
  client.ShutdownSend();
  EXPECT_EQ(client.Receive().code, 400);
  TestClient large(server_->address());
  large.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + std::string(50000, 'x'));
  large.ShutdownSend();
  EXPECT_EQ(large.Receive().code, 400);
}

TEST_F(HttpLimitsTest, ConnectionsAboveTheLimitAreRefused) {
  HttpServerOptions options;
  options.max_connections = 3;
  StartServer(options);
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<TestClient>(server_->address()));
    EXPECT_EQ(clients.back()->Exchange(Get("/a")).code, 200);
  }
  TestClient refused(server_->address());
  EXPECT_EQ(refused.Exchange(Get("/a")).code, 503);
  EXPECT_TRUE(refused.AtEnd());
  EXPECT_EQ(clients[0]->Exchange(Get("/a")).code, 200);
}

TEST_F(HttpLimitsTest, HundredsOfHalfRequestsDoNotStopTheOthers) {
  StartServer();
  std::vector<std::unique_ptr<TestClient>> half;
  for (int i = 0; i < 300; ++i) {
    half.push_back(std::make_unique<TestClient>(server_->address()));
    half.back()->Send(i % 2 ? "GET / HT" : "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\nabc");
  }
  ExpectServing();
}

TEST_F(HttpLimitsTest, ABusyClientsBytesAreBounded) {
  StartServer();
  TestClient client(server_->address());
  client.Send(Get("/hold"));
  const auto held = handler_.TakeHeld();
  std::string many;
  for (int i = 0; i < 5000; ++i) many += Get("/n" + std::to_string(i));
  std::thread sender([&] { client.Send(many); });
  held->responder->Reply(HttpReply());
  EXPECT_EQ(client.Receive().code, 200);
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(client.Receive().body, "/n" + std::to_string(i));
  sender.join();
}

TEST_F(HttpLimitsTest, MutatedRequestsNeverHarm) {
  HttpServerOptions options;
  options.max_body_bytes = 4096;
  options.header_timeout_ms = 30;
  options.body_timeout_ms = 30;
  StartServer(options);
  std::mt19937 random(7);
  const std::string sample = Post("/echo", "0123456789", "Expect: 100-continue\r\nAccept-Encoding: gzip\r\n") +
                             "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
  for (int i = 0; i < 300; ++i) {
    std::string request = sample;
    for (int m = 0; m < 1 + i % 4; ++m) {
      const size_t at = random() % request.size();
      switch (random() % 3) {
        case 0: request[at] = static_cast<char>(random()); break;
        case 1: request.erase(at, 1 + random() % 5); break;
        default: request.insert(at, 1 + random() % 3, static_cast<char>(random()));
      }
    }
    TestClient client(server_->address());
    client.Send(request);
    if (i % 2) client.ShutdownSend();
    if (i % 3) client.Receive();
  }
  ExpectServing();
}

}  // namespace
}  // namespace switchyard
