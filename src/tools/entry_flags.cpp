#include "tools/entry_flags.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "config/json_text.h"
#include "config/text.h"

namespace switchyard {
namespace {

using rapidjson::Document;
using rapidjson::Value;

// How a model's flag stands in config.json.
enum class Form { kText, kTextOrObject, kJson, kNumber, kBoolean };
struct EntryFlag {
  std::string_view name;
  Form form;
};
constexpr EntryFlag kEntryFlags[] = {
    {"batch_size", Form::kText},
    {"shape", Form::kTextOrObject},
    {"layout", Form::kTextOrObject},
    {"mean", Form::kTextOrObject},
    {"scale", Form::kTextOrObject},
    {"color_format", Form::kTextOrObject},
    {"precision", Form::kTextOrObject},
    {"model_version_policy", Form::kJson},
    {"nireq", Form::kNumber},
    {"dynamic_batching", Form::kJson},
    {"target_device", Form::kText},
    {"plugin_config", Form::kJson},
    {"fallback_devices", Form::kText},
    {"standby", Form::kBoolean},
    {"device_timeout_ms", Form::kNumber},
    {"strict_placement", Form::kBoolean},
    {"isolated_compile", Form::kBoolean},
    {"auto_shape_limit", Form::kNumber},
    {"load_timeout_ms", Form::kNumber},
    {"idle_unload_seconds", Form::kNumber},
    {"warmup", Form::kTextOrObject},
    {"stateful", Form::kBoolean},
    {"max_sequence_number", Form::kNumber},
    {"idle_sequence_cleanup", Form::kBoolean},
    {"sequence_idle_seconds", Form::kNumber},
    {"low_latency_transformation", Form::kBoolean},
};

Status AddFlag(const EntryFlag& flag, const std::string& text, Document::AllocatorType& memory, Value& entry) {
  Value name(flag.name.data(), static_cast<rapidjson::SizeType>(flag.name.size()), memory);
  const bool parsed = flag.form == Form::kJson || flag.form == Form::kNumber ||
                      (flag.form == Form::kTextOrObject && Trim(text).starts_with('{'));
  if (flag.form == Form::kBoolean) {
    entry.AddMember(name, Value(text == "true"), memory);
  } else if (parsed) {
    Document json;
    const Status read = ParseJsonText(text, &json);
    if (!read.ok()) return InvalidArgument("--{}: {}", flag.name, Message(read));
    entry.AddMember(name, Value(json, memory), memory);
  } else {
    entry.AddMember(name, Value(text.c_str(), static_cast<rapidjson::SizeType>(text.size()), memory), memory);
  }
  return absl::OkStatus();
}

}  // namespace

bool IsEntryFlag(std::string_view name) {
  return std::any_of(std::begin(kEntryFlags), std::end(kEntryFlags), [&](const EntryFlag& flag) { return flag.name == name; });
}

Status AddEntryFlags(const GivenFlags& flags, Document::AllocatorType& memory, Value* entry) {
  for (const EntryFlag& flag : kEntryFlags) {
    const std::string key(flag.name);
    if (flags.Has(key)) SY_RETURN_IF_ERROR(AddFlag(flag, flags.Get(key), memory, *entry));
  }
  return absl::OkStatus();
}

}  // namespace switchyard
