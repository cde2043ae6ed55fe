// The values of one model's settings, from text and from JSON: one parser each for the command line and config.json. Errors say
// what was expected and what came; the caller puts the flag's or key's name before them. kUnimplemented: a value that OVMS
// knows and this version does not serve.
#pragma once

#include <rapidjson/document.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

// As OVMS: more infer requests than this are a typing error.
inline constexpr uint32_t kMaxNireq = 100000;
inline constexpr size_t kLongestName = 512;

// More instances of one model, each of a shape of its own, would fill any memory.
inline constexpr uint32_t kMaxAutoShapes = 1000;
inline constexpr uint32_t kMaxSequences = 1000000;

// "4", "-1" (any), "1:8"; "0" keeps the model's own; "auto".
struct BatchSetting {
  std::optional<Dimension> size;
  bool is_auto = false;
};
StatusOr<BatchSetting> ParseBatchSize(std::string_view text);
// "(1,3,224,224)", "(-1,3,1:8,224)", "()" for a scalar.
StatusOr<PartialShape> ParseShape(std::string_view text);
// "NHWC:NCHW", "NCHW", "N...".
StatusOr<LayoutSetting> ParseLayout(std::string_view text);

// Shapes by input, and the inputs whose shape is "auto" ("" is all of them).
struct ShapeSettings {
  std::map<std::string, PartialShape> shapes;
  std::set<std::string> autos;
};

// A string (for the single input, under the name ""), or an object of strings by name.
StatusOr<ShapeSettings> ShapesOf(const rapidjson::Value& json);
StatusOr<std::map<std::string, LayoutSetting>> LayoutsOf(const rapidjson::Value& json);
// The same from a flag, where an object is JSON text.
StatusOr<ShapeSettings> ParseShapes(std::string_view text);
StatusOr<std::map<std::string, LayoutSetting>> ParseLayouts(std::string_view text);

// {"all": {}}, {"latest": {"num_versions": n}} or {"specific": {"versions": [...]}}.
StatusOr<VersionPolicy> VersionPolicyOf(const rapidjson::Value& json);
StatusOr<VersionPolicy> ParseVersionPolicy(std::string_view text);

// {"stable": 3, "canary": 4}: names of versions. A name is not empty, has no control characters and is no number, so that
// KServe's text of a version is one or the other.
StatusOr<std::map<std::string, int64_t>> LabelsOf(const rapidjson::Value& json);
// Other names of the model `name`: a list of model names, each there once.
StatusOr<std::vector<std::string>> AliasesOf(const rapidjson::Value& json, std::string_view name);

// Neither empty nor with control characters.
Status CheckModelName(std::string_view name);
// Absolute and normalised; a relative path is taken from `base_dir`. Touches no file.
StatusOr<std::string> ResolveBasePath(std::string_view path, const std::string& base_dir);

// What becomes of a warning about settings: it is logged, left to another reading of the same text, or a fault (--strict).
enum class Warnings { kLog, kIgnore, kRefuse };

// What holds between settings. A shape takes the place of a batch size, as with OVMS, with a warning. InvalidArgument: a value
// for each channel, or a colour format, of an input whose layout nobody told; dynamic_batching beside what it cannot go with.
Status Reconcile(ModelSettings* model, Warnings warnings = Warnings::kLog);

}  // namespace switchyard
