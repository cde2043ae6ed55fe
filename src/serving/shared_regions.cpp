#include "serving/shared_regions.h"

#include "base/utf8.h"

namespace switchyard {

bool SharedRegion::Acquire() {
  if ((users_.fetch_add(1, std::memory_order_acq_rel) & kClosed) == 0) return true;
  Release();
  return false;
}

void SharedRegion::Release() {
  if (users_.fetch_sub(1, std::memory_order_acq_rel) == (kClosed | 1)) Unmap();
}

void SharedRegion::Close() {
  if (users_.fetch_or(kClosed, std::memory_order_acq_rel) == 0) Unmap();
}

void SharedRegion::Unmap() {
  // A late Acquire on a closed region counts up and down again: only the first time is the real one.
  if (!unmapped_.exchange(true)) mapping_.reset();
}

Status RegionHandle::Health() const {
  if (!region_->mapping().damaged()) return absl::OkStatus();
  return Error(StatusCode::kFailedPrecondition,
               "Shared memory region {} has lost its memory: its object {} was made smaller, or the system had no memory for "
               "it; unregister the region, and register it again when the object is as it was",
               name(), region_->info().key);
}

SharedRegions::SharedRegions() { regions_.Publish(std::make_shared<const Map>()); }

SharedRegions::~SharedRegions() { UnregisterAll(); }

Status SharedRegions::Register(SharedRegionInfo info) {
  if (info.name.empty() || info.name.size() > kLongestName) {
    return InvalidArgument("Invalid name of a shared memory region - Expected: 1 to {} bytes; Actual: {}", kLongestName,
                           info.name.size());
  }
  const auto taken = [&](const Map& regions) {
    const auto found = regions.find(info.name);
    if (found == regions.end()) return absl::OkStatus();
    const SharedRegionInfo& other = found->second->info();
    return Error(StatusCode::kAlreadyExists,
                 "Shared memory region {} is registered already, with the key {}, {} bytes from {} on; unregister it first",
                 other.name, other.key, other.byte_size, other.offset);
  };
  SY_RETURN_IF_ERROR(taken(regions_.Current()));
  // Without the mutex: it may block.
  SY_ASSIGN_OR_RETURN(std::unique_ptr<SharedMapping> mapping, SharedMapping::Open(info.key, info.offset, info.byte_size));
  MutexLock lock(&mutex_);
  Map next = *regions_.Latest();
  SY_RETURN_IF_ERROR(taken(next));
  std::string name = info.name;
  next.emplace(std::move(name), std::make_shared<SharedRegion>(std::move(info), std::move(mapping)));
  regions_.Publish(std::make_shared<const Map>(std::move(next)));
  return absl::OkStatus();
}

void SharedRegions::Unregister(std::string_view name) {
  std::shared_ptr<SharedRegion> gone;
  {
    MutexLock lock(&mutex_);
    Map next = *regions_.Latest();
    const auto found = next.find(name);
    if (found == next.end()) return;
    gone = std::move(found->second);
    next.erase(found);
    regions_.Publish(std::make_shared<const Map>(std::move(next)));
  }
  gone->Close();
}

void SharedRegions::UnregisterAll() {
  std::shared_ptr<const Map> gone;
  {
    MutexLock lock(&mutex_);
    gone = regions_.Latest();
    regions_.Publish(std::make_shared<const Map>());
  }
  for (const auto& [name, region] : *gone) region->Close();
}

std::vector<SharedRegionInfo> SharedRegions::List() const {
  std::vector<SharedRegionInfo> list;
  for (const auto& [name, region] : regions_.Current()) list.push_back(region->info());
  return list;
}

StatusOr<RegionHandle> SharedRegions::Acquire(std::string_view name) const {
  std::shared_ptr<SharedRegion> region;
  do {
    const Map& regions = regions_.Current();
    const auto found = regions.find(name);
    if (found == regions.end()) {
      return InvalidArgument("There is no shared memory region {}; register it before it is used",
                             CutUtf8(name, kLongestName));
    }
    region = found->second;
    // Closed: the snapshot without it was there before.
  } while (!region->Acquire());
  RegionHandle handle(std::move(region));
  SY_RETURN_IF_ERROR(handle.Health());
  return handle;
}

}  // namespace switchyard
