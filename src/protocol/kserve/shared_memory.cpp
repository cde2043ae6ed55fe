#include "protocol/kserve/shared_memory.h"

#include <rapidjson/document.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/json_string.h"
#include "base/utf8.h"

namespace switchyard::kserve {
namespace {

StatusOr<SharedRegions*> RegionsOf(const Manager& manager) {
  if (SharedRegions* const regions = manager.shared_memory()) return regions;
  return Error(StatusCode::kPermissionDenied, "Shared memory is off on this server: start it with --allow_shared_memory");
}

}  // namespace

StatusOr<SharedPlace> SharedParameters::Take() const {
  if (region && bytes) return SharedPlace{.region = *region, .offset = offset, .bytes = *bytes};
  return InvalidArgument("{} is missing: a tensor in shared memory has both {} and {}",
                         region ? kBytesParameter : kRegionParameter, kRegionParameter, kBytesParameter);
}

SharedTensors& SharedOf(DecodedRequest& request) {
  if (request.shared == nullptr) request.shared = std::make_unique<SharedTensors>();
  return *request.shared;
}

StatusOr<std::vector<SharedRegionInfo>> ListRegions(const Manager& manager, RegionKind kind, std::string_view name) {
  std::vector<SharedRegionInfo> list;
  if (kind == RegionKind::kSystem) {
    SY_ASSIGN_OR_RETURN(SharedRegions* const regions, RegionsOf(manager));
    list = regions->List();
  }
  if (name.empty()) return list;
  std::erase_if(list, [&](const SharedRegionInfo& region) { return region.name != name; });
  if (!list.empty()) return list;
  return Error(StatusCode::kNotFound, "There is no shared memory region {}", CutUtf8(name, SharedRegions::kLongestName));
}

Status RegisterRegion(const Manager& manager, SharedRegionInfo info) {
  SY_ASSIGN_OR_RETURN(SharedRegions* const regions, RegionsOf(manager));
  return regions->Register(std::move(info));
}

Status UnregisterRegions(const Manager& manager, RegionKind kind, std::string_view name) {
  // Clients ask it of CUDA's too, to be sure: there are none left, since there never were any.
  if (kind == RegionKind::kCuda) return absl::OkStatus();
  SY_ASSIGN_OR_RETURN(SharedRegions* const regions, RegionsOf(manager));
  if (name.empty()) {
    regions->UnregisterAll();
  } else {
    regions->Unregister(name);
  }
  return absl::OkStatus();
}

Status RegisterCudaRegion() {
  return Error(StatusCode::kUnimplemented,
               "CUDA's shared memory is not supported: no device of OpenVINO reads it; use system shared memory");
}

std::string EncodeRegions(const std::vector<SharedRegionInfo>& regions) {
  std::string out = "[";
  for (const SharedRegionInfo& region : regions) {
    out += out.size() > 1 ? ",{\"name\":" : "{\"name\":";
    AppendJsonString(out, region.name);
    out += ",\"key\":";
    AppendJsonString(out, region.key);
    out += fmt::format(",\"offset\":{},\"byte_size\":{}}}", region.offset, region.byte_size);
  }
  return out + ']';
}

StatusOr<SharedRegionInfo> ReadRegistration(std::string name, std::string_view json) {
  if (json.size() > kMaxRegisterBytes) {
    return InvalidArgument("expected at most {} bytes of JSON, got {}", kMaxRegisterBytes, json.size());
  }
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(json.data(), json.size());
  if (document.HasParseError() || !document.IsObject()) {
    return InvalidArgument("Expected a JSON object such as {{\"key\": \"/input_data\", \"offset\": 0, \"byte_size\": 4096}}");
  }
  SharedRegionInfo info{.name = std::move(name)};
  const auto key = document.FindMember("key");
  if (key == document.MemberEnd() || !key->value.IsString()) {
    return InvalidArgument("key: expected a string, the name of a POSIX shared memory object");
  }
  info.key.assign(key->value.GetString(), key->value.GetStringLength());
  const auto number = [&](const char* member, bool needed, uint64_t* value) {
    const auto found = document.FindMember(member);
    if (found == document.MemberEnd() && !needed) return absl::OkStatus();
    if (found == document.MemberEnd() || !found->value.IsUint64()) {
      return InvalidArgument("{}: expected a number of bytes, which is a whole number from 0", member);
    }
    *value = found->value.GetUint64();
    return absl::OkStatus();
  };
  SY_RETURN_IF_ERROR(number("offset", false, &info.offset));
  SY_RETURN_IF_ERROR(number("byte_size", true, &info.byte_size));
  return info;
}

}  // namespace switchyard::kserve
