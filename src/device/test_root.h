// A made-up root folder, for tests.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "device/system_view.h"

namespace switchyard {

class TestRoot {
 public:
  TestRoot() {
    std::string name = (std::filesystem::temp_directory_path() / "sysroot-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  ~TestRoot() { std::filesystem::remove_all(root_); }
  TestRoot(const TestRoot&) = delete;
  TestRoot& operator=(const TestRoot&) = delete;

  std::string path(const std::string& inside = "") const { return root_ + inside; }

  TestRoot& Folder(const std::string& inside) {
    std::filesystem::create_directories(root_ + inside);
    return *this;
  }
  TestRoot& File(const std::string& inside, const std::string& text = "") {
    Folder(std::filesystem::path(inside).parent_path().string());
    std::ofstream(root_ + inside, std::ios::binary) << text;
    return *this;
  }
  TestRoot& Link(const std::string& inside, const std::string& target) {
    Folder(std::filesystem::path(inside).parent_path().string());
    std::filesystem::create_symlink(target, root_ + inside);
    return *this;
  }
  // A file in a device node's stead; its group is the one that the test runs in.
  TestRoot& Node(const std::string& inside, mode_t mode = 0660) {
    File(inside);
    EXPECT_EQ(chmod((root_ + inside).c_str(), mode), 0);
    return *this;
  }

  // A user who owns nothing below the root, and is in the nodes' group or not.
  SystemView View(bool in_group = true) const {
    SystemView view = SystemView::At(root_);
    const gid_t group = NodeGroup();
    view.user = {.uid = geteuid() + 1, .gid = group + 1, .groups = {}};
    if (in_group) view.user.groups.push_back(group);
    return view;
  }
  gid_t NodeGroup() const {
    struct stat facts {};
    EXPECT_EQ(stat(root_.c_str(), &facts), 0);
    return facts.st_gid;
  }

 private:
  std::string root_;
};

}  // namespace switchyard
