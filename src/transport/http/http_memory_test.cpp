// What a client sees when the system has no memory for the listener, at any place: an error or the connection's end, and a
// server that goes on serving. Every allocation of the threads that the server has goes through here.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "transport/http/test_server.h"

namespace {

// Threads of the server allocate so often before it fails; negative: it never does.
std::atomic<long> left{-1};
std::atomic<bool> once{true};
std::atomic<size_t> largest{SIZE_MAX};
thread_local bool spared = false;

void* Take(size_t size, size_t alignment) {
  if (!spared) {
    if (size > largest.load()) throw std::bad_alloc();
    long seen = left.load();
    while (seen > 0 && !left.compare_exchange_weak(seen, seen - 1)) {
    }
    if (seen == 0) {
      if (once.load()) left.store(-1);
      throw std::bad_alloc();
    }
  }
  void* const memory = std::aligned_alloc(alignment, (std::max(size, size_t{1}) + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// What is inlined of some of them and not of others, GCC takes for a pair that does not match.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
void* operator new(size_t size) { return Take(size, alignof(std::max_align_t)); }
void* operator new(size_t size, std::align_val_t alignment) { return Take(size, static_cast<size_t>(alignment)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace switchyard {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

class HttpMemoryTest : public HttpListenerTest {
 protected:
  void SetUp() override {
    spared = true;
    HttpServerOptions options;
    options.workers = 1;
    options.idle_timeout_ms = 40000;
    options.body_timeout_ms = 400;  // a tick of 100 ms
    Listen(options);
  }
  void TearDown() override {
    left = -1;
    largest = SIZE_MAX;
  }
};

TEST_F(HttpMemoryTest, ABodyThatIsTooLargeForTheMemoryIsAnErrorOfItsRequest) {
  largest = size_t{1} << 18;
  const std::string body(size_t{4} << 20, 'x');
  const std::string chunk = "100000\r\n" + std::string(size_t{1} << 20, 'x') + "\r\n";
  const std::string chunked =
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + chunk + "0\r\n\r\n";
  for (const std::string& request : {Post("/echo", body), chunked}) {
    TestClient client(server_->address());
    const ClientReply reply = client.Exchange(request);
    EXPECT_EQ(reply.code, 503);
    EXPECT_THAT(reply.body, HasSubstr("{\"error\":\"The server has no memory"));
    EXPECT_EQ(TestClient::Header(reply, "Connection"), "close");
    EXPECT_TRUE(client.AtEnd());
    ExpectServing();
  }
}

TEST_F(HttpMemoryTest, AnAnswerThatIsTooLargeForTheMemoryIsAnErrorOfItsRequest) {
  largest = size_t{1} << 18;
  TestClient client(server_->address());
  EXPECT_EQ(client.Exchange(Get("/big")).code, 503);
  ExpectServing();
}

// One allocation fails, then another: whichever it is, also those of taking the connection and of the clock.
TEST_F(HttpMemoryTest, AnyAllocationMayFail) {
  const std::string chunked = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
  const std::string long_header = Get("/ok", "Long: " + std::string(20000, 'y') + "\r\n");
  const std::string large = Post("/echo", std::string(3000000, 'x'));
  for (const std::string& request : {large, chunked, long_header, Get("/throw"), Get("/big")}) {
    for (long count = 0; count < 40; ++count) {
      SCOPED_TRACE(request.substr(0, 10) + std::to_string(count));
      left = count;
      {
        TestClient client(server_->address());
        EXPECT_THAT(client.Exchange(request).code, AnyOf(200, 500, 503, 0));
      }
      left = -1;
      ExpectServing();
    }
  }
}

// From one moment on there is none at all.
TEST_F(HttpMemoryTest, AllAllocationsMayFail) {
  once = false;
  for (long count = 0; count < 20; ++count) {
    SCOPED_TRACE(count);
    TestClient client(server_->address());
    ASSERT_EQ(client.Exchange(Get("/first")).code, 200);
    left = count;
    const int code = client.Exchange(Post("/echo", std::string(3000000, 'x'))).code;
    EXPECT_THAT(code, AnyOf(200, 503, 0));
    EXPECT_TRUE(count > 0 || code != 200);
    left = -1;
    ExpectServing();
  }
  once = true;
}

// The handler's thread has the answer, and no memory to hand it over.
TEST_F(HttpMemoryTest, AnAnswerFromAnotherThreadIsNotForgotten) {
  TestClient client(server_->address());
  client.Send(Get("/hold"));
  const auto held = handler_.TakeHeld();
  std::thread([&] {
    HttpReply reply;
    left = 0;
    held->responder->Reply(std::move(reply));
    left = -1;
  }).join();
  EXPECT_THAT(client.Receive().code, AnyOf(200, 503));
  ExpectServing();
}

}  // namespace
}  // namespace switchyard
