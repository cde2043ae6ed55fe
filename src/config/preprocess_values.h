// The values of what is done to inputs before the model gets them: mean, scale, colour format, precision; from text and from
// JSON. Errors say what was expected and what came; the caller puts the flag's or key's name before them.
#pragma once

#include <rapidjson/document.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

// "123.675", "[123.675,116.28,103.53]", "(123.675,116.28,103.53)": finite numbers.
StatusOr<std::vector<float>> ParseChannelValues(std::string_view text);
// "RGB:BGR": what the model gets : what clients send.
StatusOr<ColorSetting> ParseColorFormat(std::string_view text);
// "UINT8:FP32" (what clients send : what it is converted to), or "UINT8".
StatusOr<PrecisionSetting> ParsePrecision(std::string_view text);

using ChannelValues = std::map<std::string, std::vector<float>>;
// For the single input (under the name ""), or an object by input. Numbers stand as text, as JSON numbers or as lists of them.
StatusOr<ChannelValues> MeansOf(const rapidjson::Value& json);
// The same; zeros are refused.
StatusOr<ChannelValues> ScalesOf(const rapidjson::Value& json);
StatusOr<std::map<std::string, ColorSetting>> ColorFormatsOf(const rapidjson::Value& json);
StatusOr<std::map<std::string, PrecisionSetting>> PrecisionsOf(const rapidjson::Value& json);
// The same from a flag, where an object is JSON text.
StatusOr<ChannelValues> ParseMeans(std::string_view text);
StatusOr<ChannelValues> ParseScales(std::string_view text);
StatusOr<std::map<std::string, ColorSetting>> ParseColorFormats(std::string_view text);
StatusOr<std::map<std::string, PrecisionSetting>> ParsePrecisions(std::string_view text);

// A value for each channel, and a colour format, need to know where the channels are: InvalidArgument when no layout with C is
// given for that input.
Status CheckChannels(const ModelSettings& model);

}  // namespace switchyard
