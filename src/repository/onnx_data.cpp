#include "repository/onnx_data.h"

#include <fcntl.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <google/protobuf/wire_format_lite.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr int kMostNested = 64;
constexpr size_t kMostDataFiles = 10000;
constexpr uint32_t kLongestText = 4096;

// The messages of onnx.proto on the way to a tensor's external_data, and the fields that lead there.
enum class OnnxMessage { kModel, kFunction, kGraph, kNode, kAttribute, kSparse, kTensor, kEntry };
struct Way {
  OnnxMessage in;
  int field;
  OnnxMessage to;
};
constexpr std::array<Way, 16> kWays = {{
    {OnnxMessage::kModel, 7, OnnxMessage::kGraph},
    {OnnxMessage::kModel, 25, OnnxMessage::kFunction},
    {OnnxMessage::kFunction, 7, OnnxMessage::kNode},
    {OnnxMessage::kGraph, 1, OnnxMessage::kNode},
    {OnnxMessage::kGraph, 5, OnnxMessage::kTensor},
    {OnnxMessage::kGraph, 15, OnnxMessage::kSparse},
    {OnnxMessage::kNode, 5, OnnxMessage::kAttribute},
    {OnnxMessage::kAttribute, 5, OnnxMessage::kTensor},
    {OnnxMessage::kAttribute, 6, OnnxMessage::kGraph},
    {OnnxMessage::kAttribute, 10, OnnxMessage::kTensor},
    {OnnxMessage::kAttribute, 11, OnnxMessage::kGraph},
    {OnnxMessage::kAttribute, 22, OnnxMessage::kSparse},
    {OnnxMessage::kAttribute, 23, OnnxMessage::kSparse},
    {OnnxMessage::kSparse, 1, OnnxMessage::kTensor},
    {OnnxMessage::kSparse, 2, OnnxMessage::kTensor},
    {OnnxMessage::kTensor, 13, OnnxMessage::kEntry},
}};

std::optional<OnnxMessage> Follow(OnnxMessage in, int field) {
  for (const Way& way : kWays) {
    if (way.in == in && way.field == field) return way.to;
  }
  return std::nullopt;
}

// A StringStringEntryProto: {"location", FILE}.
bool ReadEntry(CodedInputStream& in, std::set<std::string>& files) {
  std::string key, value;
  while (const uint32_t tag = in.ReadTag()) {
    const int field = WireFormatLite::GetTagFieldNumber(tag);
    const bool text = WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
    if (!text || field > 2) {
      if (!WireFormatLite::SkipField(&in, tag)) return false;
      continue;
    }
    uint32_t length = 0;
    if (!in.ReadVarint32(&length) || length > kLongestText) return false;
    if (!in.ReadString(field == 1 ? &key : &value, static_cast<int>(length))) return false;
  }
  // ONNX allows none outside of the model's folder.
  const fs::path file = fs::path(value).lexically_normal();
  if (key == "location" && !file.empty() && file.is_relative() && *file.begin() != "..") files.insert(file.string());
  return files.size() < kMostDataFiles;
}

bool ReadMessage(CodedInputStream& in, OnnxMessage message, int level, std::set<std::string>& files) {
  if (message == OnnxMessage::kEntry) return ReadEntry(in, files);
  while (const uint32_t tag = in.ReadTag()) {
    const std::optional<OnnxMessage> next = Follow(message, WireFormatLite::GetTagFieldNumber(tag));
    if (!next || WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&in, tag)) return false;
      continue;
    }
    uint32_t length = 0;
    if (!in.ReadVarint32(&length) || length > INT32_MAX || level == kMostNested) return false;
    const CodedInputStream::Limit limit = in.PushLimit(static_cast<int>(length));
    if (!ReadMessage(in, *next, level + 1, files) || in.BytesUntilLimit() != 0) return false;
    in.PopLimit(limit);
  }
  return true;
}

}  // namespace

std::vector<std::string> OnnxDataFiles(const std::string& model_path) {
  if (fs::path(model_path).extension() != ".onnx") return {};
  const int file = open(model_path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  google::protobuf::io::FileInputStream stream(file);
  stream.SetCloseOnDelete(true);
  CodedInputStream in(&stream);
  std::set<std::string> files;
  ReadMessage(in, OnnxMessage::kModel, 0, files);
  return {files.begin(), files.end()};
}

}  // namespace switchyard
