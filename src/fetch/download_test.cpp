#include "fetch/download.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "base/test_folder.h"
#include "base/test_http_server.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;
using Kind = ExpectedDigest::Kind;

// Of "x".
constexpr const char* kSha256 = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

class DownloadTest : public ::testing::Test {
 protected:
  static std::string Content(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const TestFolder temporary_;
  const fs::path folder_ = temporary_.path();
  const std::string path_ = (folder_ / "file").string();
};

TEST_F(DownloadTest, TheDigestsThatAreAskedForAreMade) {
  std::ofstream(path_) << "x";
  const auto both = DigestsOf(path_, {Kind::kSha256, Kind::kGitBlob});
  ASSERT_TRUE(both.ok());
  EXPECT_EQ(both->bytes, 1u);
  EXPECT_EQ(both->sha256, kSha256);
  // As `git hash-object` has it.
  EXPECT_EQ(both->git_blob, "c1b0730e0133447badcfd47fd144e254807b06e1");
  const auto one = DigestsOf(path_, {Kind::kGitBlob, Kind::kNone});
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(one->sha256, "");
  EXPECT_EQ(one->git_blob, both->git_blob);
}

TEST_F(DownloadTest, HashingEndsWhenItIsCancelled) {
  std::ofstream(path_) << std::string(size_t{3} << 20, 'x');
  int asked = 0;
  const auto found = DigestsOf(path_, {Kind::kSha256}, [&asked] { return ++asked == 2; });
  EXPECT_EQ(found.status().code(), StatusCode::kCancelled);
  EXPECT_EQ(asked, 2);
}

TEST_F(DownloadTest, WithoutAHashTheSizeIsChecked) {
  TestHttpServer server([](const std::string&, const TestHttpServer::Send& send) {
    // Another one's hash, which nobody asked for.
    send(TestHttpServer::Text(200, "x", "X-Linked-Etag: \"" + std::string(64, '1') + "\"\r\n"));
  });
  HttpClient client({});
  DownloadRequest request{.http = {.url = server.url()}, .path = path_, .bytes = 1, .expected = {}, .hash = false, .tries = 0};
  const auto got = Download(client, request, {});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->bytes, 1u);
  EXPECT_EQ(got->sha256, "");
  EXPECT_FALSE(got->verified);
  EXPECT_EQ(Content(path_), "x");
  request.bytes = 2;
  EXPECT_EQ(Download(client, request, {}).status().code(), StatusCode::kDataLoss);
  request.bytes = 1;
  request.hash = true;
  EXPECT_THAT(std::string(Message(Download(client, request, {}).status())), HasSubstr(kSha256));
}

TEST_F(DownloadTest, NoSecretOfTheUrlIsOnTheDisk) {
  std::atomic<int> requests{0};
  std::string second;
  TestHttpServer server([&](const std::string& head, const TestHttpServer::Send& send) {
    if (++requests == 1) {  // half of it
      send("HTTP/1.1 200 X\r\nConnection: close\r\nETag: \"e\"\r\nContent-Length: 4\r\n\r\nab");
    } else {
      second = head;
      send("HTTP/1.1 206 X\r\nConnection: close\r\nETag: \"e\"\r\nContent-Range: bytes 2-3/4\r\nContent-Length: 2\r\n\r\ncd");
    }
  });
  HttpClient client({});
  const std::string url = "http://user:pass-secret@" + server.address() + "/m.onnx?sig=query-secret";
  const DownloadRequest request{.http = {.url = url}, .path = path_, .bytes = {}, .expected = {}, .tries = 0};
  EXPECT_EQ(Download(client, request, {}).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(Content(path_ + ".part"), "ab");
  for (const auto& entry : fs::directory_iterator(folder_)) EXPECT_THAT(Content(entry.path()), Not(HasSubstr("secret")));
  // And what it is about is known all the same.
  const auto got = Download(client, request, {});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(Content(path_), "abcd");
  EXPECT_THAT(second, HasSubstr("Range: bytes=2-"));
}

TEST(HttpClient, TheDeadlineEndsADrip) {
  TestHttpServer server([](const std::string&, const TestHttpServer::Send& send) {
    send("HTTP/1.1 200 X\r\nConnection: close\r\n\r\n");
    while (send("..")) std::this_thread::sleep_for(milliseconds(50));
  });
  const auto begin = std::chrono::steady_clock::now();
  HttpClient client({.deadline = begin + milliseconds(400)});
  EXPECT_EQ(CallWithRetries(client, {.url = server.url()}, 3, {}).status().code(), StatusCode::kUnavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(10));
}

TEST(HttpClient, NoPauseIsLongerThanTheLongest) {
  std::atomic<int> requests{0};
  TestHttpServer server([&](const std::string&, const TestHttpServer::Send& send) {
    send(++requests == 1 ? TestHttpServer::Text(503, "", "Retry-After: 300\r\n") : TestHttpServer::Text(200, "x"));
  });
  HttpClient patient({.longest_pause = milliseconds(10)});
  const auto answer = CallWithRetries(patient, {.url = server.url()}, 1, {});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 200);
  // A pause that ends behind the deadline is not waited for.
  requests = 0;
  HttpClient hurried({.deadline = std::chrono::steady_clock::now() + seconds(100)});
  EXPECT_EQ(CallWithRetries(hurried, {.url = server.url()}, 1, {})->status, 503);
  EXPECT_EQ(requests, 1);
}

}  // namespace
}  // namespace switchyard
