// What goes back over the wire: bytes of the codec's own and memory that the device wrote, in order, without a copy.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <absl/container/inlined_vector.h>

namespace switchyard {

class Frame {
 public:
  struct Segment {
    std::string own;                    // the bytes, or
    const std::byte* data = nullptr;    // where they are, kept alive by `owner`
    size_t size = 0;
    std::shared_ptr<const void> owner;

    const char* begin() const { return data != nullptr ? reinterpret_cast<const char*>(data) : own.data(); }
  };

  Frame() = default;
  explicit Frame(std::string bytes) { Append(std::move(bytes)); }

  void Append(std::string bytes) {
    if (bytes.empty()) return;
    const size_t size = bytes.size();
    size_ += size;
    segments_.push_back(Segment{std::move(bytes), nullptr, size, nullptr});
  }
  // Refers to the memory; use Append(std::string) where copying a few bytes is cheaper than carrying a reference.
  void Append(const std::byte* data, size_t size, std::shared_ptr<const void> owner) {
    if (size == 0) return;
    size_ += size;
    segments_.push_back(Segment{{}, data, size, std::move(owner)});
  }

  size_t size() const { return size_; }
  absl::InlinedVector<Segment, 3>& segments() { return segments_; }
  const absl::InlinedVector<Segment, 3>& segments() const { return segments_; }
  // All bytes in one string, for tests and small messages.
  std::string Flatten() const {
    std::string all;
    all.reserve(size_);
    for (const Segment& segment : segments_) all.append(segment.begin(), segment.size);
    return all;
  }

 private:
  absl::InlinedVector<Segment, 3> segments_;
  size_t size_ = 0;
};

}  // namespace switchyard
