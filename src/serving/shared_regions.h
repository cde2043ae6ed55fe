// Regions of memory that clients share with the server, by the names that they registered them under.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/published.h"
#include "base/shared_mapping.h"
#include "base/status.h"

namespace switchyard {

struct SharedRegionInfo {
  std::string name;
  std::string key;  // of the POSIX object
  uint64_t offset = 0;
  uint64_t byte_size = 0;
};

// One region and who uses it, counted without a lock. Stays behind as a husk when its memory is unmapped, so that an old
// snapshot can still be asked.
class SharedRegion {
 public:
  SharedRegion(SharedRegionInfo info, std::unique_ptr<SharedMapping> mapping)
      : info_(std::move(info)), mapping_(std::move(mapping)) {}

  // One more user, unless the region is closed.
  bool Acquire();
  // The last one of a closed region unmaps it, on whichever thread.
  void Release();
  void Close();
  const SharedRegionInfo& info() const { return info_; }
  // Only while used.
  const SharedMapping& mapping() const { return *mapping_; }

 private:
  void Unmap();

  static constexpr uint64_t kClosed = uint64_t{1} << 63;
  const SharedRegionInfo info_;
  std::atomic<uint64_t> users_{0};
  std::atomic<bool> unmapped_{false};
  std::unique_ptr<SharedMapping> mapping_;
};

// RAII: while it lives, so does the mapping, whether the region is registered still or not.
class RegionHandle {
 public:
  RegionHandle() = default;
  // Takes over one user that Acquire counted.
  explicit RegionHandle(std::shared_ptr<SharedRegion> region) : region_(std::move(region)) {}
  RegionHandle(RegionHandle&& other) noexcept = default;
  RegionHandle& operator=(RegionHandle&& other) noexcept {
    std::swap(region_, other.region_);
    return *this;
  }
  ~RegionHandle() {
    if (region_) region_->Release();
  }

  const std::string& name() const { return region_->info().name; }
  std::byte* data() const { return region_->mapping().data(); }
  size_t size() const { return region_->mapping().size(); }
  // OK, or why nothing that lies there means anything.
  Status Health() const;

 private:
  std::shared_ptr<SharedRegion> region_;
};

// Thread-safe. Acquire takes no lock, but for the first one of a thread after a change.
class SharedRegions {
 public:
  static constexpr size_t kLongestName = 256;

  SharedRegions();
  // Calls may still hold regions.
  ~SharedRegions();

  // Maps the memory. AlreadyExists: the name is taken; InvalidArgument: no name, or too long a one; else as
  // SharedMapping::Open.
  Status Register(SharedRegionInfo info);
  // A name that is not registered is unregistered already. Calls in flight keep the memory until their devices are done with
  // it; the name is free at once.
  void Unregister(std::string_view name);
  void UnregisterAll();

  // By name.
  std::vector<SharedRegionInfo> List() const;
  // InvalidArgument: no region of that name; FailedPrecondition: its memory is damaged.
  StatusOr<RegionHandle> Acquire(std::string_view name) const;

 private:
  using Map = std::map<std::string, std::shared_ptr<SharedRegion>, std::less<>>;
  Published<Map> regions_;
  Mutex mutex_;  // whoever changes them
};

}  // namespace switchyard
