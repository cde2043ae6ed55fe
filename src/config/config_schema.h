// The published JSON Schema of config.json (api/config.schema.json), compiled in, and the judgement by it.
#pragma once

#include <rapidjson/document.h>

#include <string_view>

#include "base/status.h"

namespace switchyard {

// The schema's text, as published.
std::string_view ConfigSchemaText();

// The first fault as `<JSON pointer>: expected <what>, got <what>`; an unknown key is named with the nearest known one.
// `document` must not be nested deeper than ParseJsonText allows, because the judgement recurses.
Status CheckConfigSchema(const rapidjson::Document& document);

}  // namespace switchyard
