#include "device/target.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "config/text.h"

namespace switchyard {
namespace {

constexpr std::string_view kPriorities = "MULTI_DEVICE_PRIORITIES";
constexpr uint32_t kLargestBatch = std::numeric_limits<int32_t>::max();

struct VirtualDevice {
  std::string_view name;
  Target::Kind kind;
  std::string_view example;
};
constexpr VirtualDevice kVirtualDevices[] = {
    {"AUTO", Target::Kind::kAuto, "AUTO:GPU,CPU"},
    {"MULTI", Target::Kind::kMulti, "MULTI:GPU,CPU"},
    {"HETERO", Target::Kind::kHetero, "HETERO:GPU,CPU"},
    {"BATCH", Target::Kind::kBatch, "BATCH:CPU(16)"},
};

const VirtualDevice* FindVirtual(std::string_view name) {
  for (const VirtualDevice& device : kVirtualDevices) {
    if (device.name == name) return &device;
  }
  return nullptr;
}

const VirtualDevice& Of(Target::Kind kind) {
  return *std::find_if(std::begin(kVirtualDevices), std::end(kVirtualDevices),
                       [&](const VirtualDevice& device) { return device.kind == kind; });
}

bool IsDigits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// As people and OpenVINO write them: no zero in front, which would give one device two names.
bool IsNumber(std::string_view text) {
  constexpr size_t kMostDigits = 9;
  return IsDigits(text) && text.size() <= kMostDigits && (text.size() == 1 || text.front() != '0');
}

std::string_view BaseName(std::string_view device) { return device.substr(0, device.find('.')); }

// Reads one text. What it says begins with the setting and the text; entries are numbered from 1.
class Parser {
 public:
  Parser(std::string_view text, const std::vector<std::string>& known, std::string_view what)
      : text_(text), start_(fmt::format("{} {}", what, Quote(text))), names_{"CPU", "GPU", "NPU"} {
    names_.insert(names_.end(), known.begin(), known.end());
  }

  StatusOr<Target> Parse() const {
    if (text_.size() > kMaxTargetBytes) return Fault("expected at most {} bytes, got {}", kMaxTargetBytes, text_.size());
    const std::string_view text = Trim(text_);
    if (text.empty()) return Fault("expected a device such as CPU, GPU.1 or AUTO:GPU,CPU, got nothing");
    const size_t colon = text.find(':');
    const std::string_view head = Trim(text.substr(0, colon));
    const VirtualDevice* device = FindVirtual(head);
    if (colon == std::string_view::npos) return device == nullptr ? ParseSingle(text) : ParseAlone(*device);
    const std::string_view rest = text.substr(colon + 1);
    if (device == nullptr) return NoVirtualDevice(head, rest);
    if (Trim(rest).empty()) return EmptyList(*device);
    return device->kind == Target::Kind::kBatch ? ParseBatch(rest) : ParseList(*device, rest);
  }

 private:
  template <typename... Args>
  Status Fault(fmt::format_string<Args...> format, Args&&... args) const {
    return InvalidArgument("{}: {}", start_, fmt::format(format, std::forward<Args>(args)...));
  }

  StatusOr<Target> ParseSingle(std::string_view text) const {
    if (text.find(',') != std::string_view::npos) {
      std::vector<std::string_view> distinct;
      for (const std::string_view entry : Split(text, ',')) {
        const std::string_view name = Trim(entry);
        if (!name.empty() && std::find(distinct.begin(), distinct.end(), name) == distinct.end()) distinct.push_back(name);
      }
      if (distinct.size() < 2) return Fault("expected one device{}", distinct.empty() ? "" : "; write " + Quote(distinct[0]));
      return Fault("a list of devices needs AUTO:, MULTI: or HETERO: before it; write {}",
                   Quote(fmt::format("AUTO:{}", fmt::join(distinct, ","))));
    }
    SY_ASSIGN_OR_RETURN(std::string name, ParseDevice(text, 0, Target::Kind::kDevice));
    Target target;
    target.devices.push_back(std::move(name));
    return target;
  }

  StatusOr<Target> ParseAlone(const VirtualDevice& device) const {
    if (device.kind == Target::Kind::kHetero) {
      return Fault("HETERO needs a list of devices; write \"{}\", or name them in plugin_config: {{\"{}\": \"GPU,CPU\"}}",
                   device.example, kPriorities);
    }
    if (device.kind == Target::Kind::kBatch) return EmptyList(device);
    Target target;
    target.kind = device.kind;
    return target;
  }

  Status EmptyList(const VirtualDevice& device) const {
    if (device.kind == Target::Kind::kBatch) {
      return Fault("BATCH names no device; write \"BATCH:CPU\" or, with the size of the batch, \"{}\"", device.example);
    }
    const bool alone = device.kind != Target::Kind::kHetero;
    return Fault("the list of devices behind {}: is empty; write \"{}\"{}", device.name, device.example,
                 alone ? fmt::format(", or \"{}\" alone for every device", device.name) : std::string());
  }

  Status NoVirtualDevice(std::string_view head, std::string_view rest) const {
    const std::string upper = ToUpper(head);
    if (FindVirtual(upper) != nullptr)
      return Fault("names of devices are upper case; write \"{}\", not {}", upper, Quote(head));
    if (IsKnown(BaseName(upper))) {
      const std::string_view id = Trim(rest);
      return Fault("{} is one device and takes no list; write {}", Quote(head),
                   Quote(IsNumber(id) ? fmt::format("{}.{}", upper, id) : upper));
    }
    std::vector<std::string_view> names;
    for (const VirtualDevice& device : kVirtualDevices) names.push_back(device.name);
    const std::string_view nearest = Nearest(upper, names);
    if (!nearest.empty()) return Fault("{} takes no list of devices; did you mean \"{}\"?", Quote(head), nearest);
    return Fault("{} takes no list of devices; AUTO, MULTI, HETERO and BATCH do", Quote(head));
  }

  StatusOr<Target> ParseBatch(std::string_view rest) const {
    Target target;
    target.kind = Target::Kind::kBatch;
    if (rest.find(',') != std::string_view::npos) {
      return Fault("BATCH stands over one device; write \"BATCH:CPU(16)\", and name others under fallback_devices");
    }
    const size_t open = rest.find('(');
    if (open != std::string_view::npos) {
      const std::string_view brackets = Trim(rest.substr(open));
      if (brackets.find(')') == std::string_view::npos) return Fault("the bracket is not closed; write \"BATCH:CPU(16)\"");
      if (brackets.find(')') != brackets.size() - 1) {
        return Fault("expected nothing behind the bracket, got {}; write \"BATCH:CPU(16)\"",
                     Quote(brackets.substr(brackets.find(')') + 1)));
      }
      const std::string_view text = Trim(brackets.substr(1, brackets.size() - 2));
      uint32_t batch = 0;
      const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), batch);
      if (!IsDigits(text) || error != std::errc() || batch == 0 || batch > kLargestBatch) {
        return Fault("expected a batch from 1 to {} in the bracket, got {}; leave the bracket out to let the device choose",
                     kLargestBatch, Quote(text));
      }
      target.batch = batch;
    }
    SY_ASSIGN_OR_RETURN(std::string name, ParseDevice(Trim(rest.substr(0, open)), 1, target.kind));
    target.devices.push_back(std::move(name));
    return target;
  }

  StatusOr<Target> ParseList(const VirtualDevice& device, std::string_view rest) const {
    Target target;
    target.kind = device.kind;
    std::vector<std::pair<std::string, bool>> seen;  // the device, and whether it is excluded, by position
    for (const std::string_view part : Split(rest, ',')) {
      const size_t position = seen.size() + 1;
      std::string_view entry = Trim(part);
      if (entry.empty()) return Fault("entry {} is empty; remove the extra comma", position);
      const bool excluded = entry.front() == '-';
      if (excluded) {
        if (device.kind != Target::Kind::kAuto) {
          return Fault("entry {} {}: only AUTO takes exclusions; leave the device out of the list of {}", position,
                       Quote(entry), device.name);
        }
        entry = Trim(entry.substr(1));
        if (entry.empty()) return Fault("entry {} \"-\" excludes nothing; name the device behind it, as in \"-GPU\"", position);
      }
      SY_ASSIGN_OR_RETURN(std::string name, ParseDevice(entry, position, device.kind));
      SY_RETURN_IF_ERROR(CheckNew(seen, name, excluded, device.kind));
      (excluded ? target.excluded : target.devices).push_back(name);
      seen.emplace_back(std::move(name), excluded);
    }
    return target;
  }

  Status CheckNew(const std::vector<std::pair<std::string, bool>>& seen, const std::string& name, bool excluded,
                  Target::Kind kind) const {
    const size_t position = seen.size() + 1;
    // "GPU" is every GPU for AUTO and MULTI, and "GPU.1" one of them: no fault beside each other.
    const bool every = kind == Target::Kind::kAuto || kind == Target::Kind::kMulti;
    for (size_t i = 0; i < seen.size(); ++i) {
      const auto& [other, other_excluded] = seen[i];
      const bool one_of_all = every && !(excluded && other_excluded) && other != name && (other == "GPU" || name == "GPU");
      const bool same = !one_of_all && CanonicalDevice(other) == CanonicalDevice(name);
      if (excluded == other_excluded) {
        if (!same) continue;
        const std::string also = other == name ? std::string() : fmt::format(" (\"{}\")", other);
        return Fault("entry {} \"{}\" is the same device as entry {}{}; remove one of them", position, name, i + 1, also);
      }
      // "-GPU" is every GPU, "-GPU.1" that one.
      const std::string& out = excluded ? name : other;
      const std::string& in = excluded ? other : name;
      if (same || out == BaseName(in)) {
        return Fault("entry {} and entry {} both take and exclude \"{}\"; remove one of them", i + 1, position, in);
      }
    }
    return absl::OkStatus();
  }

  // `position` 0: the text is the device alone.
  StatusOr<std::string> ParseDevice(std::string_view text, size_t position, Target::Kind kind) const {
    const std::string place = position == 0 ? Quote(text) : fmt::format("entry {} {}", position, Quote(text));
    const std::string_view base = BaseName(text);
    const std::string upper = ToUpper(text);
    if (text.empty()) return Fault("entry {} is empty; name a device, such as CPU", position);
    // "BATCH:CPU(4)" in a list is one too.
    if (const VirtualDevice* nested = FindVirtual(BaseName(std::string_view(upper).substr(0, upper.find(':'))))) {
      return Fault("{}: {} cannot stand in a list or have an id; name real devices", place, nested->name);
    }
    if (text.find_first_of("()") != std::string_view::npos) return Brackets(place, text, kind);
    if (text.front() == '-' && (kind == Target::Kind::kDevice || kind == Target::Kind::kBatch)) {
      return Fault("{}: only AUTO takes exclusions; write {}", place, Quote(fmt::format("AUTO:{}", text)));
    }
    if (!IsKnown(base)) return Unknown(place, text, upper);
    if (base.size() == text.size()) return std::string(text);
    return CheckId(place, base, text.substr(base.size() + 1));
  }

  Status Brackets(const std::string& place, std::string_view text, Target::Kind kind) const {
    const std::string_view name = Trim(text.substr(0, text.find_first_of("()")));
    const std::string_view shown = name.empty() ? std::string_view("CPU") : name;
    if (kind == Target::Kind::kDevice) {
      return Fault("{}: brackets stand only behind the device of BATCH; write {} or {}", place, Quote(shown),
                   Quote(fmt::format("BATCH:{}(16)", shown)));
    }
    return Fault(
        "{}: brackets stand only behind the device of BATCH; write {} (the requests of old releases are now set by nireq)",
        place, Quote(shown));
  }

  Status Unknown(const std::string& place, std::string_view text, const std::string& upper) const {
    if (upper != text && IsKnown(BaseName(upper))) {
      return Fault("{}: names of devices are upper case; write {}", place, Quote(upper));
    }
    std::vector<std::string_view> candidates(names_.begin(), names_.end());
    // A list takes real devices alone; a single one may have been meant for a virtual one.
    if (text.size() == text_.size()) candidates.insert(candidates.end(), {"AUTO", "MULTI", "HETERO", "BATCH"});
    const std::string_view nearest = Nearest(BaseName(upper), candidates);
    std::string list;
    for (const std::string& name : names_) list += (list.empty() ? "" : ", ") + name;
    if (!nearest.empty()) return Fault("{} is no device; did you mean \"{}\"? Known are {}", place, nearest, list);
    return Fault("{} is no device; known are {}, and others when --device_plugin NAME=PATH registers them", place, list);
  }

  StatusOr<std::string> CheckId(const std::string& place, std::string_view base, std::string_view id) const {
    const std::vector<std::string_view> parts = Split(id, '.');
    const bool numbers = std::all_of(parts.begin(), parts.end(), IsNumber);
    if (base == "CPU") {
      if (id != "0") return Fault("{}: there is one CPU; write \"CPU\"", place);
      return std::string(base);
    }
    if (base == "GPU") {
      if (!numbers || parts.size() > 2) {
        return Fault("{}: expected the number of a GPU behind the dot, as in \"GPU.1\", or of its tile, as in \"GPU.0.1\"",
                     place);
      }
    } else if (base == "NPU") {
      if (!numbers || parts.size() > 1) {
        return Fault("{}: expected a number behind the dot, as in \"NPU.4000\"; write \"NPU\" for the one there is", place);
      }
    } else if (id.empty() || !std::all_of(id.begin(), id.end(), [](char c) {
                 return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-' ||
                        c == '.';
               })) {
      return Fault("{}: expected an id of letters, digits, dots, - and _ behind the dot, as in \"{}.0\"", place, base);
    }
    return fmt::format("{}.{}", base, id);
  }

  bool IsKnown(std::string_view base) const { return std::find(names_.begin(), names_.end(), base) != names_.end(); }

  const std::string_view text_;
  const std::string start_;
  std::vector<std::string> names_;
};

// OpenVINO's old form has requests in brackets, which Brackets() refuses with its remedy.
StatusOr<Target> WithPriorities(std::string_view head, const PropertyValue& value, const std::vector<std::string>& known) {
  const auto* text = std::get_if<std::string>(&value.value);
  if (text == nullptr || Trim(*text).empty()) {
    return InvalidArgument(
        "plugin_config: {}: expected devices in their order, such as \"GPU,CPU\", got {}; name some or remove it", kPriorities,
        text == nullptr ? "no string" : Quote(*text));
  }
  return ParseTarget(fmt::format("{}:{}", head, *text), known, fmt::format("plugin_config: {} makes", kPriorities));
}

bool SameList(const Target& a, const Target& b) {
  const bool every = a.kind == Target::Kind::kAuto || a.kind == Target::Kind::kMulti;  // "GPU" is more than "GPU.0"
  const auto same = [every](const std::string& x, const std::string& y) {
    return x == y || (CanonicalDevice(x) == CanonicalDevice(y) && !(every && (x == "GPU" || y == "GPU")));
  };
  return std::equal(a.devices.begin(), a.devices.end(), b.devices.begin(), b.devices.end(), same) &&
         std::equal(a.excluded.begin(), a.excluded.end(), b.excluded.begin(), b.excluded.end(), same);
}

}  // namespace

std::string Target::ToString() const {
  if (kind == Kind::kDevice) return devices.empty() ? std::string() : devices.front();
  std::string text(Of(kind).name);
  char separator = ':';
  const auto append = [&](std::string_view prefix, const std::string& device) {
    text += separator;
    text += prefix;
    text += device;
    separator = ',';
  };
  for (const std::string& device : devices) append("", device);
  for (const std::string& device : excluded) append("-", device);
  if (batch.has_value()) text += fmt::format("({})", *batch);
  return text;
}

StatusOr<Target> ParseTarget(std::string_view text, const std::vector<std::string>& known, std::string_view what) {
  return Parser(text, known, what).Parse();
}

StatusOr<Target> TargetOf(const ModelSettings& model, const std::vector<std::string>& known) {
  const auto found = model.plugin_config.find(std::string(kPriorities));
  if (found == model.plugin_config.end()) return ParseTarget(model.target_device, known);
  const std::string_view text = Trim(model.target_device);
  const VirtualDevice* alone = FindVirtual(text);
  if (alone != nullptr && alone->kind != Target::Kind::kBatch) return WithPriorities(text, found->second, known);

  SY_ASSIGN_OR_RETURN(Target target, ParseTarget(text, known));
  if (target.kind == Target::Kind::kDevice || target.kind == Target::Kind::kBatch) {
    return InvalidArgument("plugin_config: {} goes with AUTO, MULTI or HETERO, and target_device is {}; remove it", kPriorities,
                           Quote(text));
  }
  SY_ASSIGN_OR_RETURN(const Target other, WithPriorities(Of(target.kind).name, found->second, known));
  if (!SameList(target, other)) {
    return InvalidArgument("target_device {} and plugin_config's {} {} name different lists; remove one of them", Quote(text),
                           kPriorities, Quote(std::get<std::string>(found->second.value)));
  }
  return target;
}

StatusOr<std::vector<Target>> FallbacksOf(const ModelSettings& model, const std::vector<std::string>& known) {
  std::vector<Target> targets;
  for (const std::string& text : model.fallback_devices) {
    const size_t position = targets.size() + 1;
    SY_ASSIGN_OR_RETURN(Target target, ParseTarget(text, known, fmt::format("fallback_devices: entry {}", position)));
    if (target.kind == Target::Kind::kAuto || target.kind == Target::Kind::kMulti) {
      return InvalidArgument("fallback_devices: entry {} {}: AUTO and MULTI cannot be fallbacks; list their devices one by one",
                             position, Quote(text));
    }
    for (size_t i = 0; i < targets.size(); ++i) {
      if (targets[i].kind == target.kind && targets[i].batch == target.batch && SameList(targets[i], target)) {
        return InvalidArgument("fallback_devices: entry {} {} is the same as entry {}; remove one of them", position,
                               Quote(text), i + 1);
      }
    }
    targets.push_back(std::move(target));
  }
  return targets;
}

std::string CanonicalDevice(std::string_view device) {
  if (device.size() > 2 && device.front() == '(' && device.back() == ')') device = device.substr(1, device.size() - 2);
  const std::string_view base = BaseName(device);
  // A number behind NPU is an architecture's (3720, 4000), or 0; a small one counts devices of which there is one.
  constexpr size_t kArchitectureDigits = 4;
  const std::string_view id = device.substr(std::min(device.size(), base.size() + 1));
  if (base == "CPU") return std::string(base);
  if (base == "NPU" && (id.empty() || id == "0" || id.size() >= kArchitectureDigits)) return std::string(base);
  if (device == "GPU") return "GPU.0";
  return std::string(device);
}

std::vector<std::string> DevicesOf(std::string_view target) {
  const size_t colon = target.find(':');
  if (colon != std::string_view::npos) target.remove_prefix(colon + 1);
  std::vector<std::string> devices;
  while (true) {
    const size_t comma = target.find(',');
    const std::string_view entry = target.substr(0, comma);
    devices.push_back(CanonicalDevice(entry.substr(0, entry.find('('))));
    if (comma == std::string_view::npos) return devices;
    target.remove_prefix(comma + 1);
  }
}

std::string FaultyDevice(std::string_view target) {
  const std::vector<std::string> devices = DevicesOf(target);
  for (const std::string& device : devices) {
    if (device != "CPU") return device;
  }
  return devices.front();
}

}  // namespace switchyard
