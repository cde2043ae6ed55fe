// What `tune` found, for people, for programs, as a picture and as a config.json.
#pragma once

#include <string>

#include "tools/tune/search.h"

namespace switchyard::tune {

// An aligned table, best first; the default and the winner are marked. Under it the notes and the reason of the choice.
std::string ResultText(const Result& result, const SearchOptions& options);
// The same as a JSON object.
std::string ResultJson(const Result& result, const SearchOptions& options);
// Throughput against latency: a point for each candidate, an SVG that needs nothing else.
std::string ResultSvg(const Result& result);
// A config.json with the winner as its only model: `notes` in the entry say why.
std::string ConfigText(const Result& result, const SearchOptions& options);

// "throughput", "latency", "goodput".
std::string_view Name(Objective objective);

}  // namespace switchyard::tune
