#include "protocol/rest/control_replies.h"

#include <absl/time/time.h>

#include <algorithm>

#include "protocol/http/http_error.h"
#include "protocol/http/json_reader.h"
#include "protocol/http/json_writer.h"
#include "protocol/kserve/repository.h"
#include "protocol/tfs/rest_codec.h"

namespace switchyard {
namespace {

void AppendFaults(std::string& out, const std::vector<ConfigFault>& faults) {
  out += "\"faults\":[";
  for (size_t i = 0; i < faults.size(); ++i) {
    out += i == 0 ? "{\"pointer\":" : ",{\"pointer\":";
    AppendJsonString(out, faults[i].pointer);
    out += ",\"expected\":";
    AppendJsonString(out, faults[i].expected);
    out += ",\"got\":";
    AppendJsonString(out, faults[i].got);
    out += '}';
  }
  out += ']';
}

void AppendReport(std::string& out, const ReloadReport& report) {
  out += "{\"model_version_status\":[],\"code\":";
  AppendJsonInteger(out, report.code);
  out += ",\"time\":";
  AppendJsonString(out, absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromChrono(report.at), absl::UTCTimeZone()));
  out += report.by_call ? ",\"by\":\"call\"" : ",\"by\":\"watch\"";
  if (!report.error.empty()) {
    out += ",\"error\":";
    AppendJsonString(out, report.error);
  }
  out += ',';
  AppendFaults(out, report.faults);
  out += '}';
}

// `use` gets each parameter by its name; nothing at all is a request without parameters. The answer is whatever stands at
// `member`, which is a boolean.
template <typename Use>
StatusOr<bool> ReadRequest(const HttpBody& body, std::string_view member, Use use) {
  if (body.view().find_first_not_of(" \t\r\n") == std::string_view::npos) return false;
  JsonDocument document;
  SY_ASSIGN_OR_RETURN(const JsonValue json, document.Parse(body.view()));
  JsonObject object;
  if (json.get(object) != simdjson::SUCCESS) return InvalidArgument("Expected an object, got {}", JsonExcerpt(json));
  bool value = false;
  for (const auto [name, entry] : object) {
    if (name == member) {
      if (entry.get(value) != simdjson::SUCCESS)
        return InvalidArgument("{}: expected true or false, got {}", name, JsonExcerpt(entry));
    } else if (name == "parameters") {
      JsonObject parameters;
      if (entry.get(parameters) != simdjson::SUCCESS || !BareWord(entry).empty()) {
        return InvalidArgument("parameters: expected an object, got {}", JsonExcerpt(entry));
      }
      for (const auto [key, parameter] : parameters) SY_RETURN_IF_ERROR(use(std::string(key), parameter));
    }
  }
  return value;
}

}  // namespace

HttpReply RefusalReply(const ControlOutcome& outcome) {
  HttpReply reply = ErrorReply(outcome.status);
  if (outcome.faults.empty()) return reply;
  std::string json = "{\"error\":";
  AppendJsonString(json, Message(outcome.status));
  json += ',';
  AppendFaults(json, outcome.faults);
  json += '}';
  reply.body = Frame(std::move(json));
  return reply;
}

std::string EncodeConfig(const std::vector<ModelStatus>& models, const std::optional<ReloadReport>& report) {
  std::string out = EncodeTfsConfigStatus(models);
  if (!report) return out;
  std::string name = "last_reload";
  const auto taken = [&](const ModelStatus& model) { return model.name == name; };
  while (std::any_of(models.begin(), models.end(), taken)) name.insert(name.begin(), '_');
  out.pop_back();
  out += out.size() > 1 ? "," : "";
  AppendJsonString(out, name);
  out += ':';
  AppendReport(out, *report);
  out += '}';
  return out;
}

std::string EncodeIndex(const std::vector<IndexedModel>& index) {
  std::string out = "[";
  for (const IndexedModel& model : index) {
    out += out.size() > 1 ? ",{\"name\":" : "{\"name\":";
    AppendJsonString(out, model.name);
    if (!model.version.empty()) {
      out += ",\"version\":";
      AppendJsonString(out, model.version);
    }
    out += ",\"state\":";
    AppendJsonString(out, model.state);
    if (!model.reason.empty()) {
      out += ",\"reason\":";
      AppendJsonString(out, model.reason);
    }
    out += '}';
  }
  out += ']';
  return out;
}

StatusOr<bool> ReadIndexRequest(const HttpBody& body) {
  return ReadRequest(body, "ready", [](const std::string&, JsonValue) { return absl::OkStatus(); });
}

StatusOr<std::optional<std::string>> ReadLoadRequest(const HttpBody& body) {
  kserve::LoadParameters parameters;
  const auto read = ReadRequest(body, "", [&](const std::string& name, JsonValue value) {
    std::string_view text;
    return value.get(text) == simdjson::SUCCESS ? parameters.AddText(name, std::string(text)) : parameters.AddOther(name);
  });
  if (!read.ok()) return read.status();
  return parameters.TakeConfig();
}

Status CheckUnloadRequest(const HttpBody& body) {
  return ReadRequest(body, "", [](const std::string& name, JsonValue) { return kserve::CheckUnloadParameter(name); }).status();
}

}  // namespace switchyard
