// A listener for tests, with a handler that does what the test wants.
#pragma once

#include <memory>
#include <utility>

#include <gtest/gtest.h>

#include "transport/http/http_server.h"
#include "transport/http/test_client.h"

namespace switchyard {

class HttpListenerTest : public ::testing::Test {
 protected:
  void Listen(const HttpServerOptions& options) {
    auto server = HttpServer::Start(options, handler_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  void ExpectServing() {
    TestClient client(server_->address());
    EXPECT_EQ(client.Exchange(Get("/alive")).body, "/alive");
  }

  TestHandler handler_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace switchyard
