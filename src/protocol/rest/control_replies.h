// The control plane over REST: what its calls ask for, and its answers as JSON. api/openapi.yaml has the shapes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "control/model_control.h"
#include "protocol/http/http_message.h"

namespace switchyard {

// {"error":...}, and with a refused change {"error":...,"faults":[{"pointer","expected","got"}]}.
HttpReply RefusalReply(const ControlOutcome& outcome);

// What is served, as OVMS has it: {"<model>":{"model_version_status":[...]}}, with "labels" and "aliases" of models that have
// some. With `report`, a member "last_reload" more, which has an empty "model_version_status", so that clients that go through
// all members find a list; its name gets a "_" before it while a model has that name.
std::string EncodeConfig(const std::vector<ModelStatus>& models, const std::optional<ReloadReport>& report);

// KServe's model repository: [{"name","version","state","reason"}]; without a version or reason they are left out.
std::string EncodeIndex(const std::vector<IndexedModel>& index);

// {"ready":true} or {} or nothing.
StatusOr<bool> ReadIndexRequest(const HttpBody& body);
// {"parameters":{"config":"..."}} or less; the text of config.
StatusOr<std::optional<std::string>> ReadLoadRequest(const HttpBody& body);
Status CheckUnloadRequest(const HttpBody& body);

}  // namespace switchyard
