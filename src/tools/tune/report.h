// What `tune` found, for people, for programs, as a picture and as a config.json.
#pragma once

#include <rapidjson/document.h>

#include <string>
#include <utility>
#include <vector>

#include "tools/tune/search.h"

namespace switchyard::tune {

// An aligned table, best first; the default and the winner are marked. Under it the notes and the reason of the choice.
std::string ResultText(const Result& result, const SearchOptions& options);
// The same as a JSON object.
std::string ResultJson(const Result& result, const SearchOptions& options);
// Throughput against latency: a point for each candidate, an SVG that needs nothing else.
std::string ResultSvg(const Result& result);
// A config.json with the winner as its only model: `notes` in the entry say why. `given`: an entry with what the user gave for
// the model; what was searched is the winner's.
std::string ConfigText(const Result& result, const SearchOptions& options, const rapidjson::Value& given,
                       const std::vector<std::pair<std::string, std::string>>& device_plugins);

// "throughput", "latency", "goodput".
std::string_view Name(Objective objective);

}  // namespace switchyard::tune
