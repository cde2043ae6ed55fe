#include "config/setting_mark.h"

#include <absl/strings/cord.h>

namespace switchyard {
namespace {

constexpr char kSettingPayload[] = "switchyard/setting";

}  // namespace

Status MarkSetting(Status status, std::string_view key) {
  if (!status.ok() && !status.GetPayload(kSettingPayload)) {
    status.SetPayload(kSettingPayload, absl::Cord(absl::string_view(key.data(), key.size())));
  }
  return status;
}

std::string SettingOf(const Status& status) {
  const auto payload = status.GetPayload(kSettingPayload);
  return payload ? std::string(*payload) : std::string();
}

}  // namespace switchyard
