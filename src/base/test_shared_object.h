// An object of POSIX shared memory, as a client makes one. Test code only.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstring>
#include <string>

namespace switchyard {

class TestSharedObject {
 public:
  explicit TestSharedObject(size_t bytes) : bytes_(bytes) {
    static std::atomic<int> number{0};
    key_ = "/switchyard_test_" + std::to_string(getpid()) + "_" + std::to_string(++number);
    file_ = shm_open(key_.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
    EXPECT_GE(file_, 0);
    EXPECT_EQ(ftruncate(file_, static_cast<off_t>(bytes)), 0);
    data_ = static_cast<std::byte*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0));
    EXPECT_NE(data_, MAP_FAILED);
  }
  ~TestSharedObject() {
    munmap(data_, bytes_);
    close(file_);
    shm_unlink(key_.c_str());
  }
  TestSharedObject(const TestSharedObject&) = delete;

  const std::string& key() const { return key_; }
  // The client's own view; not beyond what Truncate left.
  std::byte* data() const { return data_; }
  template <typename T>
  T* As(size_t offset = 0) const {
    return reinterpret_cast<T*>(data_ + offset);
  }
  void Truncate(size_t bytes) const { EXPECT_EQ(ftruncate(file_, static_cast<off_t>(bytes)), 0); }
  void SetMode(mode_t mode) const { EXPECT_EQ(fchmod(file_, mode), 0); }

  // Whether this process has it mapped beside the client's own view.
  bool MappedElsewhere() const {
    std::string maps;
    FILE* const file = fopen("/proc/self/maps", "r");
    char buffer[4096];
    for (size_t got; (got = fread(buffer, 1, sizeof(buffer), file)) > 0;) maps.append(buffer, got);
    fclose(file);
    size_t count = 0;
    for (size_t at = maps.find(key_); at != maps.npos; at = maps.find(key_, at + 1)) ++count;
    return count > 1;
  }

 private:
  const size_t bytes_;
  std::string key_;
  int file_ = -1;
  std::byte* data_ = nullptr;
};

}  // namespace switchyard
