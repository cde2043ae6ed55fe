#include "base/socket_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace switchyard {
namespace {

using ::testing::HasSubstr;

class SocketFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string folder = (std::filesystem::temp_directory_path() / "sy_socket_XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    path_ = folder + "/socket";
  }
  void TearDown() override {
    for (const int each : open_) close(each);
    std::filesystem::remove_all(folder_);
  }

  sockaddr_un Address() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    return address;
  }
  int Bind(int type) {
    const int made = socket(AF_UNIX, type, 0);
    open_.push_back(made);
    const sockaddr_un address = Address();
    EXPECT_EQ(bind(made, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    return made;
  }
  void ExpectRefused(const std::string& why) {
    const Status cleared = ClearSocketFile(path_);
    EXPECT_EQ(cleared.code(), StatusCode::kUnavailable);
    EXPECT_THAT(std::string(Message(cleared)), HasSubstr("Cannot listen on unix:" + path_ + ": " + why));
    EXPECT_TRUE(std::filesystem::exists(path_));
  }

  std::filesystem::path folder_;
  std::string path_;
  std::vector<int> open_;
};

TEST_F(SocketFileTest, WhatWasLeftBehindIsRemoved) {
  EXPECT_TRUE(ClearSocketFile(path_).ok());
  Bind(SOCK_STREAM);  // nobody listens
  EXPECT_TRUE(ClearSocketFile(path_).ok());
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(SocketFileTest, AServerKeepsItsSocket) {
  ASSERT_EQ(listen(Bind(SOCK_STREAM), 0), 0);
  ExpectRefused("another server listens there; choose another path");
  // So busy that it takes nobody: one more than the backlog is in its queue already.
  for (int i = 0; i < 3; ++i) {
    const int client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    open_.push_back(client);
    const sockaddr_un address = Address();
    if (connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) break;
  }
  ExpectRefused("another server listens there; choose another path");
}

TEST_F(SocketFileTest, OtherFilesStay) {
  std::ofstream(path_) << "a file";
  ExpectRefused("a file that is no socket is there; remove it or choose another path");
  std::filesystem::remove(path_);
  Bind(SOCK_DGRAM);
  ExpectRefused("a socket is there that cannot be replaced");
}

TEST_F(SocketFileTest, PathsThatFitNoAddressAreRefused) {
  EXPECT_EQ(ClearSocketFile("").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ClearSocketFile("/" + std::string(107, 'a')).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(ClearSocketFile("/" + std::string(106, 'a')).ok());
}

}  // namespace
}  // namespace switchyard
