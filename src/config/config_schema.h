// The published JSON Schema of config.json (api/config.schema.json), compiled in, and the judgement by it.
#pragma once

#include <rapidjson/document.h>

#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/config_fault.h"

namespace switchyard {

// The schema's text, as published.
std::string_view ConfigSchemaText();

// The first fault as `<JSON pointer>: expected <what>, got <what>`; an unknown key is named with the nearest known one.
// `document` must not be nested deeper than ParseJsonText allows, because the judgement recurses.
Status CheckConfigSchema(const rapidjson::Document& document);

// Every fault, in the order of the document; empty exactly when CheckConfigSchema is content. An unknown key's pointer is the
// key's, a missing one's that of the object without it.
std::vector<ConfigFault> SchemaFaults(const rapidjson::Document& document);

}  // namespace switchyard
