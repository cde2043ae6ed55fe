#include "config/config_reading.h"

#include <rapidjson/document.h>
#include <rapidjson/pointer.h>

#include <functional>
#include <map>
#include <utility>

#include "config/config_schema.h"
#include "config/json_text.h"
#include "config/model_entry.h"
#include "config/model_values.h"
#include "config/server_parts.h"
#include "config/text.h"

namespace switchyard {
namespace {

using rapidjson::Document;
using rapidjson::Value;

// The member that an error of ReadModelEntry is about; empty when it is about the entry.
std::string KeyOf(std::string_view message, const Value& entry) {
  const std::string key(message.substr(0, message.find_first_of(": ")));
  return entry.HasMember(key.c_str()) ? key : std::string();
}

// What a parser says of a value: of the whole, or of one of the same kind with some of its members.
using ReadValue = std::function<Status(const Value&)>;

Document WithPart(const Value& of, const Value* name, const Value& part) {
  Document one;
  of.IsObject() ? one.SetObject() : one.SetArray();
  auto& memory = one.GetAllocator();
  if (name != nullptr) {
    one.AddMember(Value(*name, memory), Value(part, memory), memory);
  } else {
    one.PushBack(Value(part, memory), memory);
  }
  return one;
}

// Adds the faults of a value that `read` refuses: of each member that it refuses alone, down to `depth` levels below, and of
// the others together; where no member is to blame, of the value. Adds none where it refuses nothing.
void AddFaultyParts(const Value& value, const std::string& place, int depth, const ReadValue& read,
                    std::vector<ConfigFault>* faults) {
  const Status whole = read(value);
  if (whole.ok()) return;
  const size_t before = faults->size();
  Document good;
  value.IsObject() ? good.SetObject() : good.SetArray();
  auto& memory = good.GetAllocator();
  const auto judge = [&](const Value* name, const Value& part, std::string_view token) {
    const ReadValue alone = [&](const Value& other) { return read(WithPart(value, name, other)); };
    const size_t told = faults->size();
    AddFaultyParts(part, PointerTo(place, token), depth - 1, alone, faults);
    if (faults->size() > told) return;
    name != nullptr ? good.AddMember(Value(*name, memory), Value(part, memory), memory)
                    : good.PushBack(Value(part, memory), memory);
  };
  if (depth > 0 && value.IsObject()) {
    for (const auto& member : value.GetObject()) judge(&member.name, member.value, Text(member.name));
  } else if (depth > 0 && value.IsArray()) {
    for (rapidjson::SizeType i = 0; i < value.Size(); ++i) judge(nullptr, value[i], std::to_string(i));
  }
  const bool blamed = faults->size() > before;
  const bool some_left = value.IsObject() ? !good.ObjectEmpty() : !good.Empty();
  const Status left = !blamed ? whole : some_left ? read(good) : absl::OkStatus();
  if (!left.ok()) faults->push_back(FaultAt(place, Message(left), Describe(value)));
}

// Finds every fault of one entry with the parser that stops at the first: the faulty key is put aside, and the rest read again.
class EntryJudge {
 public:
  EntryJudge(const Value& entry, const std::string& base_dir, Warnings warnings, CheckedModel* model,
             std::vector<ConfigFault>* faults)
      : base_dir_(base_dir), warnings_(warnings), model_(*model), faults_(*faults) {
    auto& memory = entry_.GetAllocator();
    entry_.SetObject();
    for (const auto& member : entry.GetObject()) {
      if (model_.faulty_keys.count(std::string(Text(member.name))) != 0) continue;
      entry_.AddMember(Value(member.name, memory), Value(member.value, memory), memory);
    }
  }

  void Judge() {
    for (;;) {
      model_.settings = Named();
      const Status read = ReadModelEntry(entry_, base_dir_, &model_.settings, warnings_);
      if (read.ok()) return;
      const std::string key = KeyOf(Message(read), entry_);
      if (key.empty()) {
        faults_.push_back(FaultAt(model_.pointer, Message(read), Describe(entry_)));
        model_.faulty_keys.insert("");
        return;
      }
      AddFaultsOf(key, Message(read));
      model_.faulty_keys.insert(key);
      PutAside(key);
    }
  }

 private:
  ModelSettings Named() const {
    ModelSettings settings;
    settings.name = entry_.HasMember("name") ? std::string(Text(entry_["name"])) : std::string("model");
    return settings;
  }

  void PutAside(const std::string& key) { entry_.RemoveMember(key.c_str()); }

  void AddFaultsOf(const std::string& key, std::string_view message) {
    const Value& value = entry_[key.c_str()];
    const std::string place = PointerTo(model_.pointer, key);
    // Its members mean something together.
    if (key == "dynamic_batching") return AddFaultOfMember(value, key, message);
    // What stands under DEVICE_PROPERTIES, by device and by property, is as much a property as what stands beside it.
    const int depth = key == "plugin_config" ? 3 : 1;
    const ReadValue alone = [&](const Value& part) { return ReadAlone(key, part); };
    const size_t before = faults_.size();
    AddFaultyParts(value, place, depth, alone, &faults_);
    if (faults_.size() == before) faults_.push_back(FaultAt(place, WithoutKey(message, key), Describe(value)));
  }

  void AddFaultOfMember(const Value& value, const std::string& key, std::string_view message) {
    const std::string place = PointerTo(model_.pointer, key);
    const std::string_view rest = WithoutKey(message, key);
    const std::string name(rest.substr(0, rest.find(": ")));
    if (!value.IsObject() || !value.HasMember(name.c_str())) return faults_.push_back(FaultAt(place, rest, Describe(value)));
    faults_.push_back(FaultAt(PointerTo(place, name), WithoutKey(rest, name), Describe(value[name.c_str()])));
  }

  // What the parser says of the key where nothing but the name stands beside it, about the key.
  Status ReadAlone(const std::string& key, const Value& value) const {
    Document entry;
    entry.SetObject();
    auto& memory = entry.GetAllocator();
    if (entry_.HasMember("name")) entry.AddMember("name", Value(entry_["name"], memory), memory);
    entry.AddMember(Value(key.c_str(), memory), Value(value, memory), memory);
    ModelSettings settings = Named();
    const Status read = ReadModelEntry(entry, base_dir_, &settings, Warnings::kIgnore);
    if (read.ok() || KeyOf(Message(read), entry) != key) return absl::OkStatus();
    return Status(read.code(), std::string(WithoutKey(Message(read), key)));
  }
  static std::string_view WithoutKey(std::string_view message, const std::string& key) {
    if (message.starts_with(key + ": ")) message.remove_prefix(key.size() + 2);
    return message;
  }

  const std::string& base_dir_;
  const Warnings warnings_;
  CheckedModel& model_;
  std::vector<ConfigFault>& faults_;
  Document entry_;
};

// Faults by the entry that they are in: by the first three tokens of their pointers.
using FaultsByEntry = std::map<std::string, std::vector<ConfigFault>, std::less<>>;

FaultsByEntry SortByEntry(const std::vector<ConfigFault>& faults) {
  FaultsByEntry sorted;
  for (const ConfigFault& fault : faults) {
    size_t end = 0;
    for (int token = 0; token < 3 && end != std::string::npos; ++token) end = fault.pointer.find('/', end + 1);
    sorted[fault.pointer.substr(0, end)].push_back(fault);
  }
  return sorted;
}

// The token of a JSON pointer at its beginning, as it was before it was escaped.
std::string FirstToken(std::string_view pointer) {
  std::string token;
  for (size_t i = 0; i < pointer.size() && pointer[i] != '/'; ++i) {
    const bool escaped = pointer[i] == '~' && i + 1 < pointer.size();
    token += escaped ? (pointer[++i] == '1' ? '/' : '~') : pointer[i];
  }
  return token;
}

// The keys of the entry at `pointer` that the schema's faults are in. "name" stands for one that is missing.
std::set<std::string> FaultyKeys(const std::string& pointer, const FaultsByEntry& faults) {
  std::set<std::string> keys;
  const auto found = faults.find(pointer);
  if (found == faults.end()) return keys;
  for (const ConfigFault& fault : found->second) {
    const bool missing = fault.pointer.size() <= pointer.size();
    keys.insert(missing ? "name" : FirstToken(std::string_view(fault.pointer).substr(pointer.size() + 1)));
  }
  return keys;
}

// Whose each name is: two models must not share one.
class NameBook {
 public:
  explicit NameBook(std::vector<ConfigFault>* faults) : faults_(*faults) {}

  void Add(const CheckedModel& model) {
    if (model.faulty_keys.count("name") == 0) Take(model.settings.name, model.pointer + "/name");
    for (size_t i = 0; i < model.settings.aliases.size(); ++i) {
      Take(model.settings.aliases[i], fmt::format("{}/aliases/{}", model.pointer, i));
    }
  }

 private:
  void Take(const std::string& name, std::string pointer) {
    const auto [taken, is_new] = taken_.emplace(name, pointer);
    if (is_new) return;
    faults_.push_back(
        {std::move(pointer), "a name that no other model has", Quote(name) + ", which " + taken->second + " has"});
  }

  std::vector<ConfigFault>& faults_;
  std::map<std::string, std::string> taken_;  // to where it is
};

void JudgeModels(const Value& list, const std::string& base_dir, Warnings warnings, ConfigReading* reading) {
  NameBook names(&reading->faults);
  const FaultsByEntry schema_faults = SortByEntry(reading->faults);
  for (rapidjson::SizeType i = 0; i < list.Size(); ++i) {
    if (!list[i].IsObject() || !list[i].HasMember("config") || !list[i]["config"].IsObject()) continue;
    const Value& entry = list[i]["config"];
    CheckedModel model;
    model.pointer = fmt::format("/model_config_list/{}/config", i);
    model.faulty_keys = FaultyKeys(model.pointer, schema_faults);
    EntryJudge(entry, base_dir, warnings, &model, &reading->faults).Judge();
    // Also one whose name is taken: the rest of it may be faulty as well.
    names.Add(model);
    reading->models.push_back(std::move(model));
  }
}

// Beside the models. What the schema says of a place goes first.
void JudgeServer(const Document& document, const std::string& base_dir, ConfigReading* reading) {
  std::set<std::string> told;
  for (const ConfigFault& fault : reading->faults) told.insert(fault.pointer);
  for (const ServerPart& part : kServerParts) {
    const Value* const value = rapidjson::Pointer(part.pointer).Get(document);
    if (value == nullptr || part.read(*value, base_dir, &reading->file.server).ok()) continue;
    std::vector<ConfigFault> faults;
    const ReadValue read = [&](const Value& some) {
      ServerConfig tried;
      return part.read(some, base_dir, &tried);
    };
    AddFaultyParts(*value, part.pointer, 1, read, &faults);
    for (ConfigFault& fault : faults) {
      if (!told.contains(fault.pointer)) reading->faults.push_back(std::move(fault));
    }
  }
}

}  // namespace

ConfigReading ReadWholeConfig(std::string_view text, const std::string& base_dir, bool strict) {
  ConfigReading reading;
  if (text.size() > kMaxConfigFileBytes) {
    reading.faults.push_back(
        {"", fmt::format("a file of at most {} bytes", kMaxConfigFileBytes), fmt::format("{}", text.size())});
    return reading;
  }
  Document document;
  if (const Status parsed = ParseJsonText(text, &document); !parsed.ok()) {
    reading.faults.push_back({"", "JSON", std::string(Message(parsed))});
    return reading;
  }
  reading.faults = SchemaFaults(document);
  const bool well_formed = reading.faults.empty();
  if (document.IsObject() && document.HasMember("model_config_list") && document["model_config_list"].IsArray()) {
    // What is well-formed is read once more below, and warned of there.
    JudgeModels(document["model_config_list"], base_dir, strict ? Warnings::kRefuse : Warnings::kIgnore, &reading);
  }
  JudgeServer(document, base_dir, &reading);
  if (!well_formed) return reading;
  auto file = ParseConfigFile(text, base_dir, strict ? Warnings::kRefuse : Warnings::kLog);
  if (file.ok()) {
    reading.file = *std::move(file);
  } else if (reading.faults.empty()) {
    reading.faults.push_back(FaultAt("", Message(file.status()), Describe(document)));
  }
  return reading;
}

EntryReading ReadModelEntry(std::string_view text, const std::string& name, const std::string& default_path,
                            const std::string& base_dir, bool strict) {
  EntryReading reading;
  Document entry;
  const auto refuse = [&](std::string expected, std::string got) {
    reading.faults.push_back({"", std::move(expected), std::move(got)});
    return reading;
  };
  if (text.size() > kMaxConfigFileBytes) {
    return refuse(fmt::format("a text of at most {} bytes", kMaxConfigFileBytes), fmt::format("{}", text.size()));
  }
  if (const Status parsed = ParseJsonText(text, &entry); !parsed.ok()) return refuse("JSON", std::string(Message(parsed)));
  if (!entry.IsObject()) return refuse("an object with the keys of a model's \"config\"", Describe(entry));
  auto& memory = entry.GetAllocator();
  Value model(rapidjson::kObjectType);
  // The whole element of model_config_list is taken too.
  const bool wrapped = entry.MemberCount() == 1 && entry.HasMember("config") && entry["config"].IsObject();
  model.CopyFrom(wrapped ? entry["config"] : entry, memory);
  if (!model.HasMember("name")) model.AddMember("name", Value(name.c_str(), memory), memory);
  if (!model.HasMember("base_path") && default_path.empty()) {
    reading.faults.push_back(
        {"", "the key \"base_path\", because the server knows no path for this model", "an object without it"});
  } else if (!model.HasMember("base_path")) {
    model.AddMember("base_path", Value(default_path.c_str(), memory), memory);
  }
  Document file;
  file.SetObject();
  Value list(rapidjson::kArrayType), element(rapidjson::kObjectType);
  element.AddMember("config", Value(model, file.GetAllocator()), file.GetAllocator());
  list.PushBack(element, file.GetAllocator());
  file.AddMember("model_config_list", list, file.GetAllocator());
  ConfigReading whole;
  whole.faults = SchemaFaults(file);
  JudgeModels(file["model_config_list"], base_dir, strict ? Warnings::kRefuse : Warnings::kLog, &whole);
  for (ConfigFault& fault : whole.faults) {
    constexpr std::string_view kPlace = "/model_config_list/0/config";
    if (fault.pointer.starts_with(kPlace)) fault.pointer.erase(0, kPlace.size());
    reading.faults.push_back(std::move(fault));
  }
  if (!whole.models.empty()) reading.model = std::move(whole.models.front());
  reading.model.pointer.clear();
  if (reading.model.faulty_keys.count("name") == 0 && reading.model.settings.name != name) {
    reading.faults.push_back({"/name", Quote(name) + ", or no name", Quote(reading.model.settings.name)});
  }
  return reading;
}

}  // namespace switchyard
