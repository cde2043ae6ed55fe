#include "tools/tune/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "tools/markup.h"
#include "tools/text_table.h"

namespace switchyard::tune {
namespace {

using Writer = rapidjson::PrettyWriter<rapidjson::StringBuffer>;

void Key(Writer& writer, std::string_view key) { writer.Key(key.data(), static_cast<rapidjson::SizeType>(key.size())); }
void Text(Writer& writer, std::string_view text) { writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size())); }

void Write(Writer& writer, const PropertyMap& properties);

void Write(Writer& writer, const PropertyValue& value) {
  if (const auto* flag = std::get_if<bool>(&value.value)) writer.Bool(*flag);
  if (const auto* number = std::get_if<int64_t>(&value.value)) writer.Int64(*number);
  if (const auto* real = std::get_if<double>(&value.value)) writer.Double(*real);
  if (const auto* text = std::get_if<std::string>(&value.value)) Text(writer, *text);
  if (const auto* map = std::get_if<PropertyMap>(&value.value)) Write(writer, *map);
}

void Write(Writer& writer, const PropertyMap& properties) {
  writer.StartObject();
  for (const auto& [key, value] : properties) {
    Key(writer, key);
    Write(writer, value);
  }
  writer.EndObject();
}

const Row& DefaultOf(const Result& result) {
  return *std::find_if(result.rows.begin(), result.rows.end(), [](const Row& row) { return row.is_default; });
}

std::string ErrorText(const Row& row) { return row.error ? fmt::format("{:.1e}", *row.error) : "-"; }

std::string StateOf(const Result& result, size_t index) {
  const Row& row = result.rows[index];
  if (!row.fault.ok()) return "failed";
  if (!row.exact_enough) return "not exact";
  if (row.score == 0) return "not tried";
  if (row.score < 0) return index == result.winner ? "nearest" : "too late";
  return index == result.winner ? "best" : "";
}

std::string Reason(const Result& result, const SearchOptions& options) {
  const Row& winner = result.rows[result.winner];
  const Row& own = DefaultOf(result);
  if (winner.score < 0) {
    return fmt::format("No candidate keeps p99 within {} ms; the nearest is {} with {:.3g} ms.", options.p99_ms,
                       winner.candidate.label, winner.last()->p99_ms);
  }
  if (winner.is_default) return "No setting did measurably better than the default: no plugin_config is needed.";
  const std::string_view what = options.objective == Objective::kLatency ? "as fast" : "as much";
  std::string text = fmt::format("{}: {}", winner.candidate.label, winner.candidate.why);
  if (own.fault.ok() && own.score > 0) {
    text += fmt::format("; {:.2f} times {} as the default", winner.score / own.score, what);
  } else if (own.fault.ok() && own.score < 0) {
    text += fmt::format("; the default does not keep p99 within {} ms (it has {:.3g} ms)", options.p99_ms, own.last()->p99_ms);
  }
  if (winner.error) text += fmt::format("; differs from CPU f32 by {:.1e} at most", *winner.error);
  return text + ".";
}

// What is searched: as far as it differs from an empty entry.
constexpr std::string_view kSearched[] = {"target_device", "nireq", "dynamic_batching", "plugin_config"};
void WriteSettings(Writer& writer, const ModelSettings& settings) {
  if (!settings.target_device.empty()) {
    Key(writer, "target_device");
    Text(writer, settings.target_device);
  }
  if (settings.nireq != 0) {
    Key(writer, "nireq");
    writer.Uint(settings.nireq);
  }
  if (settings.dynamic_batching) {
    Key(writer, "dynamic_batching");
    writer.StartObject();
    const auto number = [&writer](std::string_view key, uint32_t value) {
      Key(writer, key);
      writer.Uint(value);
    };
    number("max_batch_size", settings.dynamic_batching->max_batch_size);
    number("max_delay_us", settings.dynamic_batching->max_delay_us);
    number("priority_levels", settings.dynamic_batching->priority.levels);
    number("default_priority_level", settings.dynamic_batching->priority.standard);
    writer.EndObject();
  }
  if (!settings.plugin_config.empty()) {
    Key(writer, "plugin_config");
    Write(writer, settings.plugin_config);
  }
}

void WriteRow(Writer& writer, const Result& result, size_t index) {
  const Row& row = result.rows[index];
  writer.StartObject();
  Key(writer, "name");
  Text(writer, row.candidate.label);
  Key(writer, "default");
  writer.Bool(row.is_default);
  Key(writer, "state");
  Text(writer, StateOf(result, index).empty() ? "ranked" : StateOf(result, index));
  Key(writer, "settings");
  writer.StartObject();
  WriteSettings(writer, row.candidate.settings);
  writer.EndObject();
  const auto number = [&](std::string_view key, std::optional<double> value) {
    Key(writer, key);
    value&& std::isfinite(*value) ? writer.Double(*value) : writer.Null();
  };
  const Figures* figures = row.last();
  // Beyond the limit of goodput there is none.
  number("score", row.score > 0 ? std::optional(row.score) : std::nullopt);
  number("per_second", figures != nullptr ? std::optional(figures->per_second) : std::nullopt);
  number("p50_ms", figures != nullptr ? std::optional(figures->p50_ms) : std::nullopt);
  number("p99_ms", figures != nullptr ? std::optional(figures->p99_ms) : std::nullopt);
  number("concurrency", figures != nullptr ? std::optional(static_cast<double>(figures->concurrency)) : std::nullopt);
  number("max_error", row.error);
  number("load_ms", row.loaded ? std::optional(row.loaded->load_ms) : std::nullopt);
  Key(writer, "fault");
  if (row.fault.ok()) {
    writer.Null();
  } else {
    Text(writer, Message(row.fault));
  }
  writer.EndObject();
}

}  // namespace

std::string_view Name(Objective objective) {
  switch (objective) {
    case Objective::kThroughput:
      return "throughput";
    case Objective::kLatency:
      return "latency";
    case Objective::kGoodput:
      return "goodput";
  }
  return "";
}

std::string ResultText(const Result& result, const SearchOptions& options) {
  std::vector<std::vector<std::string>> table = {{"#", "CANDIDATE", "", "PER SECOND", "P50", "P99", "IN FLIGHT", "VS DEFAULT",
                                                  "ERROR", "DEVICES", "PRECISION", "STREAMS", "REQUESTS", "LOAD"}};
  const Row& own = DefaultOf(result);
  for (size_t i = 0; i < result.rows.size(); ++i) {
    const Row& row = result.rows[i];
    const Figures* figures = row.last();
    std::string mark = StateOf(result, i);
    if (row.is_default) mark += mark.empty() ? "default" : ", default";
    std::vector<std::string> cells = {std::to_string(i + 1), row.candidate.label, mark};
    const auto add = [&](bool known, const std::string& text) { cells.push_back(known && !text.empty() ? text : "-"); };
    add(figures != nullptr, figures ? fmt::format("{:.1f}", figures->per_second) : "");
    add(figures != nullptr, figures ? fmt::format("{:.3g} ms", figures->p50_ms) : "");
    add(figures != nullptr, figures ? fmt::format("{:.3g} ms", figures->p99_ms) : "");
    add(figures != nullptr, figures ? std::to_string(figures->concurrency) : "");
    add(row.score > 0 && own.score > 0, row.score > 0 && own.score > 0 ? fmt::format("{:.2f}", row.score / own.score) : "");
    cells.push_back(ErrorText(row));
    add(row.loaded.has_value(), row.loaded ? fmt::format("{}", fmt::join(row.loaded->devices, ",")) : "");
    add(row.loaded.has_value(), row.loaded ? row.loaded->precision : "");
    add(row.loaded.has_value(), row.loaded ? row.loaded->streams : "");
    add(row.loaded.has_value(), row.loaded ? std::to_string(row.loaded->requests) : "");
    add(row.loaded.has_value(), row.loaded ? fmt::format("{:.0f} ms", row.loaded->load_ms) : "");
    table.push_back(std::move(cells));
  }
  std::string text =
      fmt::format("Objective: {}{}; largest error allowed {:.1e}; {:.0f} s\n\n{}", Name(options.objective),
                  options.objective == Objective::kGoodput ? fmt::format(" with p99 <= {} ms", options.p99_ms) : "",
                  result.allowed_error, result.seconds, Table(table));
  text += fmt::format("\n{}\n", Reason(result, options));
  for (const Row& row : result.rows) {
    if (!row.fault.ok()) text += fmt::format("  {} failed: {}\n", row.candidate.label, Message(row.fault));
  }
  for (const std::string& note : result.notes) text += fmt::format("  {}.\n", note);
  return text;
}

std::string ResultJson(const Result& result, const SearchOptions& options) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.SetIndent(' ', 2);
  writer.StartObject();
  Key(writer, "objective");
  Text(writer, Name(options.objective));
  Key(writer, "allowed_error");
  writer.Double(result.allowed_error);
  Key(writer, "seconds");
  writer.Double(result.seconds);
  Key(writer, "interrupted");
  writer.Bool(result.interrupted);
  Key(writer, "best");
  Text(writer, result.rows[result.winner].candidate.label);
  Key(writer, "reason");
  Text(writer, Reason(result, options));
  Key(writer, "notes");
  writer.StartArray();
  for (const std::string& note : result.notes) Text(writer, note);
  writer.EndArray();
  Key(writer, "candidates");
  writer.StartArray();
  for (size_t i = 0; i < result.rows.size(); ++i) WriteRow(writer, result, i);
  writer.EndArray();
  writer.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

std::string ConfigText(const Result& result, const SearchOptions& options, const rapidjson::Value& given,
                       const std::vector<std::pair<std::string, std::string>>& device_plugins) {
  const Row& winner = result.rows[result.winner];
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.SetIndent(' ', 2);
  writer.StartObject();
  Key(writer, "model_config_list");
  writer.StartArray();
  writer.StartObject();
  Key(writer, "config");
  writer.StartObject();
  Key(writer, "name");
  Text(writer, winner.candidate.settings.name);
  Key(writer, "base_path");
  Text(writer, winner.candidate.settings.base_path);
  for (const auto& member : given.GetObject()) {
    const std::string_view key(member.name.GetString(), member.name.GetStringLength());
    if (std::find(std::begin(kSearched), std::end(kSearched), key) != std::end(kSearched)) continue;
    Key(writer, key);
    member.value.Accept(writer);
  }
  WriteSettings(writer, winner.candidate.settings);
  Key(writer, "notes");
  writer.StartArray();
  Text(writer, fmt::format("tuned for {}", Name(options.objective)));
  Text(writer, Reason(result, options));
  for (const std::string& note : result.notes) Text(writer, note);
  writer.EndArray();
  writer.EndObject();
  writer.EndObject();
  writer.EndArray();
  if (!device_plugins.empty()) {
    Key(writer, "device_plugins");
    writer.StartObject();
    for (const auto& [name, path] : device_plugins) {
      Key(writer, name);
      Text(writer, path);
    }
    writer.EndObject();
  }
  writer.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

std::string ResultSvg(const Result& result) {
  constexpr double kWidth = 900, kLeft = 80, kTop = 40, kPlotWidth = 520, kPlotHeight = 440, kLine = 16;
  double most_latency = 0, most_throughput = 0;
  const auto drawn =
      std::count_if(result.rows.begin(), result.rows.end(), [](const Row& row) { return row.last() != nullptr; });
  const double height = std::max(kTop + kPlotHeight + 80, kTop + kLine * static_cast<double>(drawn + 1));
  for (const Row& row : result.rows) {
    if (row.last() == nullptr) continue;
    most_latency = std::max(most_latency, row.last()->p50_ms);
    most_throughput = std::max(most_throughput, row.last()->per_second);
  }
  if (most_latency <= 0) most_latency = 1;
  if (most_throughput <= 0) most_throughput = 1;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n"
      "<path d=\"M{2} {3}V{4}H{5}\" fill=\"none\" stroke=\"dimgray\"/>\n",
      kWidth, height, kLeft, kTop, kTop + kPlotHeight, kLeft + kPlotWidth);
  for (int i = 0; i <= 4; ++i) {
    const double x = kLeft + kPlotWidth * i / 4, y = kTop + kPlotHeight * (1 - i / 4.0);
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{:.3g}</text>\n", x, kTop + kPlotHeight + 18,
                       most_latency * i / 4);
    svg +=
        fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{:.4g}</text>\n", kLeft - 8, y + 4, most_throughput * i / 4);
  }
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">latency, p50 in ms</text>\n", kLeft + kPlotWidth / 2,
                     kTop + kPlotHeight + 40);
  svg += fmt::format("<text x=\"{}\" y=\"{}\">inferences per second</text>\n", kLeft - 60, kTop - 16);
  size_t number = 0;
  for (size_t i = 0; i < result.rows.size(); ++i) {
    const Row& row = result.rows[i];
    if (row.last() == nullptr) continue;
    ++number;
    const double x = kLeft + kPlotWidth * row.last()->p50_ms / most_latency;
    const double y = kTop + kPlotHeight * (1 - row.last()->per_second / most_throughput);
    const char* colour = i == result.winner ? "#0a7d33"
                         : row.is_default   ? "#c2410c"
                         : row.exact_enough ? "#2563eb"
                                            : "darkgray";
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"{}\"><title>{}</title></circle>\n", x, y, colour,
                       EscapeMarkup(row.candidate.label));
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"10\">{}</text>\n", x + 7, y - 4, number);
    svg += fmt::format("<text x=\"{}\" y=\"{}\" fill=\"{}\">{} {}{}</text>\n", kLeft + kPlotWidth + 30,
                       kTop + kLine * static_cast<double>(number), colour, number, EscapeMarkup(row.candidate.label),
                       row.is_default ? " (default)" : "");
  }
  return svg + "</svg>\n";
}

}  // namespace switchyard::tune
