#include "testing/npusim/ir.h"

#include <cstdlib>
#include <cstring>
#include <string_view>

namespace npusim {
namespace {

constexpr size_t kMaxRank = 5;

const Precision kPrecisions[] = {
    {"FP32", "f32", 0x01, 5, 4, 4},     {"FP16", "f16", 0x02, 4, 3, 2},  {"FP64", "f64", 0x0F, 6, 5, 8},
    {"BF16", "bf16", 0x09, 3, 2, 2},    {"I64", "i64", 0x11, 11, 10, 8}, {"I32", "i32", 0x05, 10, 9, 4},
    {"I16", "i16", 0x06, 9, 8, 2},      {"I8", "i8", 0x07, 8, 7, 1},     {"U64", "u64", 0x10, 17, 19, 8},
    {"U32", "u32", 0x0A, 16, 18, 4},    {"U16", "u16", 0x03, 15, 17, 2}, {"U8", "u8", 0x04, 14, 16, 1},
    {"BOOL", "boolean", 0x0E, 2, 1, 1},
};

const Precision* FindPrecision(std::string_view name) {
  for (const Precision& precision : kPrecisions) {
    if (name == precision.ir_name || name == precision.element_name) return &precision;
  }
  return nullptr;
}

std::string Unescape(std::string text) {
  // The ampersand last, so that nothing is unescaped twice.
  constexpr std::pair<const char*, const char*> kEntities[] = {
      {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&apos;", "'"}, {"&amp;", "&"}};
  for (auto [entity, character] : kEntities) {
    for (size_t at = 0; (at = text.find(entity, at)) != text.npos; ++at) text.replace(at, strlen(entity), character);
  }
  return text;
}

std::string Attribute(std::string_view tag, const char* name) {
  std::string key = std::string(" ") + name + "=\"";
  size_t begin = tag.find(key);
  if (begin == tag.npos) return "";
  begin += key.size();
  return Unescape(std::string(tag.substr(begin, tag.find('"', begin) - begin)));
}

// "a,b", where "\," is a comma inside a name.
std::vector<std::string> SplitNames(const std::string& text) {
  std::vector<std::string> names;
  std::string name;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == ',') {
      name += text[++i];
    } else if (text[i] == ',') {
      if (!name.empty()) names.push_back(name);
      name.clear();
    } else {
      name += text[i];
    }
  }
  if (!name.empty()) names.push_back(name);
  return names;
}

// Where the tag that begins at `at` ends; a '>' inside quotes is not its end.
size_t TagEnd(std::string_view xml, size_t at) {
  char quote = 0;
  for (; at < xml.size(); ++at) {
    if (quote) {
      if (xml[at] == quote) quote = 0;
    } else if (xml[at] == '"' || xml[at] == '\'') {
      quote = xml[at];
    } else if (xml[at] == '>') {
      return at;
    }
  }
  return xml.npos;
}

void ReadTag(std::string_view name, std::string_view tag, const char* content, Ir* ir) {
  Layer* layer = ir->layers.empty() ? nullptr : &ir->layers.back();
  if (name == "layer") {
    ir->layers.push_back(
        {Attribute(tag, "id"), Attribute(tag, "name"), Attribute(tag, "type"), Attribute(tag, "output_names"), {}});
  } else if (name == "data" && layer) {
    if (layer->output_names.empty()) layer->output_names = Attribute(tag, "output_names");
  } else if (name == "port" && layer) {
    layer->ports.push_back({Attribute(tag, "id"), Attribute(tag, "precision"), Attribute(tag, "names"), {}});
  } else if (name == "dim" && layer && !layer->ports.empty()) {
    layer->ports.back().dimensions.push_back(atoll(content));
  } else if (name == "edge") {
    ir->sources[Attribute(tag, "to-layer")] = {Attribute(tag, "from-layer"), Attribute(tag, "from-port")};
  }
}

// An output is called by what feeds it, as the plugin expects.
void NameOutput(const Ir& ir, const Layer& result, std::string* name, std::string* tensor_names) {
  *name = result.name;
  *tensor_names = result.output_names;
  auto edge = ir.sources.find(result.id);
  if (edge == ir.sources.end()) return;
  for (const Layer& source : ir.layers) {
    if (source.id != edge->second.first) continue;
    *name = source.name;
    for (const Port& port : source.ports) {
      if (port.id == edge->second.second && tensor_names->empty()) *tensor_names = port.names;
    }
  }
}

std::string AddArgument(const Layer& layer, bool is_input, std::string name, const std::string& tensor_names,
                        std::vector<Argument>* arguments) {
  const Port& port = layer.ports[0];
  const Precision* precision = FindPrecision(port.precision);
  if (!precision) return "npusim: precision " + port.precision + " of " + layer.name + " is not supported";
  for (int64_t dimension : port.dimensions) {
    if (dimension < 0) return "npusim: dynamic shape of " + layer.name + " is not supported by this compiler";
  }
  if (port.dimensions.size() > kMaxRank) return "npusim: rank above 5 of " + layer.name + " is not supported by this compiler";
  arguments->push_back({is_input, std::move(name), SplitNames(tensor_names), port.dimensions, precision, -1});
  return "";
}

// The argument that feeds this output without an operation between; -1 for none.
int CopyOf(const Ir& ir, const Layer& result) {
  auto edge = ir.sources.find(result.id);
  int index = 0;
  for (const Layer& layer : ir.layers) {
    if (layer.type != "Parameter" || layer.ports.empty()) continue;
    if (edge != ir.sources.end() && layer.id == edge->second.first) return index;
    ++index;
  }
  return -1;
}

}  // namespace

size_t Argument::bytes() const {
  size_t bytes = precision->bytes;
  for (int64_t dimension : dimensions) bytes *= static_cast<size_t>(dimension);
  return bytes;
}

bool UnpackContainer(const uint8_t* bytes, size_t size, std::string* xml, std::vector<uint8_t>* weights) {
  constexpr size_t kFixed = 24;  // the head and both sizes
  if (size < kFixed) return false;
  uint32_t parts;
  uint64_t xml_size, weights_size;
  memcpy(&parts, bytes + 4, sizeof parts);
  memcpy(&xml_size, bytes + 8, sizeof xml_size);
  if (parts != 2 || xml_size > size - kFixed) return false;
  memcpy(&weights_size, bytes + 16 + xml_size, sizeof weights_size);
  if (weights_size > size - kFixed - xml_size) return false;
  xml->assign(reinterpret_cast<const char*>(bytes) + 16, xml_size);
  const uint8_t* begin = bytes + kFixed + xml_size;
  weights->assign(begin, begin + weights_size);
  return true;
}

bool ParseIr(const std::string& xml, Ir* ir) {
  int depth = 0, skipped = -1;  // the depth at which what is left out began
  for (size_t at = 0; (at = xml.find('<', at)) != xml.npos;) {
    size_t end = TagEnd(xml, at + 1);
    if (end == xml.npos) return false;
    std::string_view tag(xml.data() + at + 1, end - at - 1);
    at = end + 1;
    if (tag.empty() || tag[0] == '?' || tag[0] == '!') continue;
    if (tag[0] == '/') {
      if (--depth == skipped) skipped = -1;
      continue;
    }
    bool empty = tag.back() == '/';
    if (!empty) ++depth;
    if (skipped >= 0) continue;
    std::string_view name = tag.substr(0, tag.find_first_of(" \t\n\r/"));
    if (name == "body" || name == "then_body" || name == "else_body" || name == "rt_info") {
      if (!empty) skipped = depth - 1;
    } else {
      ReadTag(name, tag, xml.c_str() + at, ir);
    }
  }
  return !ir->layers.empty();
}

std::string ReadArguments(const Ir& ir, std::vector<Argument>* arguments) {
  std::string fault;
  for (const Layer& layer : ir.layers) {
    if (layer.type == "ReadValue" || layer.type == "Assign") return "npusim: stateful models are not supported";
  }
  for (const Layer& layer : ir.layers) {
    if (layer.type != "Parameter" || layer.ports.empty()) continue;
    fault = AddArgument(layer, true, layer.name, layer.ports[0].names, arguments);
    if (!fault.empty()) return fault;
  }
  for (const Layer& layer : ir.layers) {
    if (layer.type != "Result" || layer.ports.empty()) continue;
    std::string name, tensor_names;
    NameOutput(ir, layer, &name, &tensor_names);
    fault = AddArgument(layer, false, std::move(name), tensor_names, arguments);
    if (!fault.empty()) return fault;
    arguments->back().copy_of = CopyOf(ir, layer);
  }
  return fault;
}

}  // namespace npusim
