#include "tools/pull/plan.h"

#include <rapidjson/document.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "base/environment.h"
#include "base/subprocess.h"
#include "config/text.h"
#include "fetch/paths.h"
#include "tools/files.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using rapidjson::Value;

std::string TextOf(const Value& object, const char* key) {
  const auto found = object.FindMember(key);
  if (found == object.MemberEnd() || !found->value.IsString()) return {};
  return {found->value.GetString(), found->value.GetStringLength()};
}
std::optional<uint64_t> SizeOf(const Value& object, const char* key) {
  const auto found = object.FindMember(key);
  if (found == object.MemberEnd() || !found->value.IsUint64()) return std::nullopt;
  return found->value.GetUint64();
}
std::string WithoutSlash(std::string text) {
  while (text.ends_with('/')) text.pop_back();
  return text;
}

StatusOr<rapidjson::Document> ReadCatalog(const PullOptions& options) {
  std::string path = options.catalog;
  std::error_code error;
  if (path.empty()) {
    const fs::path program = fs::canonical(OwnExecutable(), error).parent_path();
    for (const fs::path& file : {program / "../share/switchyard/catalog.json", program / "../../share/catalog.json"}) {
      if (path.empty() && fs::is_regular_file(file, error)) path = file.string();
    }
    if (path.empty()) return Error(StatusCode::kFailedPrecondition, "catalog.json is not there; install Switchyard as a whole");
  }
  SY_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  rapidjson::Document json;
  json.Parse<rapidjson::kParseIterativeFlag>(text.data(), text.size());
  if (json.HasParseError() || !json.IsObject() || !json.HasMember("models") || !json["models"].IsObject()) {
    return InvalidArgument("{}: expected {{\"models\": {{NAME: ...}}}}", path);
  }
  for (const auto& model : json["models"].GetObject()) {
    if (!model.value.IsObject()) return InvalidArgument("{}: expected an object for each model", path);
  }
  return json;
}

// The same path at the mirror.
std::string Mirrored(const std::string& url, const std::string& mirror) {
  if (mirror.empty()) return url;
  const size_t scheme = url.find("://");
  const size_t path = scheme == url.npos ? url.npos : url.find('/', scheme + 3);
  return WithoutSlash(mirror) + (path == url.npos ? "" : url.substr(path));
}

Status CheckPaths(const PullPlan& plan) {
  std::set<std::string> seen;
  for (const PlannedFile& file : plan.files) {
    if (!StaysInside(file.to)) {
      return InvalidArgument("{}: its file {} would leave the model's folder, or hide in it; refused", plan.source,
                             Quote(file.to));
    }
    if (!seen.insert(file.to).second) return InvalidArgument("{}: it has the file {} twice", plan.source, Quote(file.to));
  }
  if (!StaysInside(plan.name) || plan.name.find('/') != plan.name.npos) {
    return InvalidArgument("{} cannot be a folder's name; give --name", Quote(plan.name));
  }
  if (plan.files.empty()) return InvalidArgument("{}: it has no model file", plan.source);
  return absl::OkStatus();
}

std::string Extension(const std::string& path) { return fs::path(path).extension().string(); }
std::string Stem(const std::string& path) { return fs::path(path).replace_extension().string(); }

bool IsTokenizer(const std::string& path) {
  const std::string name = fs::path(path).stem().string();
  return name == "openvino_tokenizer" || name == "openvino_detokenizer";
}

// A SavedModel's graph; its weights lie in folders beside it.
constexpr std::string_view kSavedModel = "saved_model.pb";

std::string FolderOf(const std::string& path) { return path.substr(0, path.rfind('/') + 1); }
bool IsSavedModel(const std::string& path) { return path.substr(path.rfind('/') + 1) == kSavedModel; }

// What else belongs to the SavedModel in `folder`.
bool IsPartOfSavedModel(const std::string& path, const std::string& folder) {
  return path.starts_with(folder + "variables/") || path.starts_with(folder + "assets/");
}

// The files of the one model among `paths`, or why there is none.
StatusOr<std::vector<std::string>> PickModel(const std::vector<std::string>& paths, const std::string& source) {
  const auto there = [&paths](const std::string& path) { return std::find(paths.begin(), paths.end(), path) != paths.end(); };
  std::vector<std::vector<std::string>> models;
  std::string heads;
  for (const std::string& path : paths) {
    const std::string kind = Extension(path);
    std::vector<std::string> files = {path};
    if (kind == ".xml" || kind == ".pdmodel") {
      const std::string weights = Stem(path) + (kind == ".xml" ? ".bin" : ".pdiparams");
      if (!there(weights) || IsTokenizer(path)) continue;
      files.push_back(weights);
    } else if (kind == ".onnx") {
      // One file, or several with numbers.
      for (const std::string& other : paths) {
        if (other.starts_with(path + "_data") || other.starts_with(path + ".data")) files.push_back(other);
      }
    } else if (IsSavedModel(path)) {
      for (const std::string& other : paths) {
        if (IsPartOfSavedModel(other, FolderOf(path))) files.push_back(other);
      }
    } else if (kind == ".pb" && there(FolderOf(path) + std::string(kSavedModel))) {
      continue;  // fingerprint.pb, keras_metadata.pb
    } else if (kind != ".tflite" && kind != ".pb") {
      continue;
    }
    heads += (heads.empty() ? "" : ", ") + path;
    models.push_back(std::move(files));
  }
  if (models.size() == 1) return models.front();
  if (models.empty()) {
    return Error(StatusCode::kNotFound,
                 "{}: it has no model that OpenVINO reads as it is (.xml with .bin, .onnx, .pdmodel with .pdiparams, .pb, "
                 ".tflite)",
                 source);
  }
  return InvalidArgument("{}: it has several models; name the files of one with --file: {}", source, heads);
}

StatusOr<rapidjson::Document> AskHub(HttpClient& client, const FetchRequest& request, int tries, const Retries::Say& say) {
  SY_ASSIGN_OR_RETURN(const HttpAnswer answer, CallWithRetries(client, request, tries, say));
  if (answer.status == 401 || answer.status == 403 || answer.status == 404) {
    return Error(answer.status == 404 ? StatusCode::kNotFound : StatusCode::kPermissionDenied,
                 "{}: HTTP {}: no such repository or revision, or it is not open to all: {}", answer.url, answer.status,
                 request.secret_headers.empty() ? "then set HF_TOKEN" : "HF_TOKEN is set; it must have been granted access");
  }
  if (answer.status != 200) return HttpFault(answer);
  rapidjson::Document json;
  json.Parse<rapidjson::kParseIterativeFlag>(answer.body.data(), answer.body.size());
  if (json.HasParseError() || !json.IsObject() || !json.HasMember("siblings") || !json["siblings"].IsArray()) {
    return Error(StatusCode::kFailedPrecondition, "{}: expected what Hugging Face's API says of a model; is it a mirror of it?",
                 answer.url);
  }
  return json;
}

StatusOr<PullPlan> HubPlan(const std::string& repository, const std::string& revision, const PullOptions& options,
                           HttpClient& client, const Retries::Say& say) {
  std::string endpoint = options.mirror.empty() ? EnvironmentValue("HF_ENDPOINT") : options.mirror;
  if (endpoint.empty()) endpoint = "https://huggingface.co";
  endpoint = WithoutSlash(endpoint);
  PullPlan plan;
  plan.name = repository.substr(repository.rfind('/') + 1);
  if (const std::string token = EnvironmentValue("HF_TOKEN"); !token.empty()) {
    if (token.find_first_of("\r\n") != token.npos) return InvalidArgument("HF_TOKEN: expected one line");
    plan.secret_headers.push_back("Authorization: Bearer " + token);
  }
  FetchRequest request;
  request.url = fmt::format("{}/api/models/{}/revision/{}?blobs=true", endpoint, EncodePath(repository), EncodePath(revision));
  request.secret_headers = plan.secret_headers;
  SY_ASSIGN_OR_RETURN(const rapidjson::Document facts, AskHub(client, request, options.tries, say));
  // A name of a revision may move while files are fetched; a commit stays.
  const std::string commit = TextOf(facts, "sha").empty() ? revision : TextOf(facts, "sha");
  plan.source = repository + "@" + commit;
  std::vector<std::string> paths;
  for (const Value& file : facts["siblings"].GetArray()) {
    if (file.IsObject() && !TextOf(file, "rfilename").empty()) paths.push_back(TextOf(file, "rfilename"));
  }
  std::vector<std::string> picked = options.files;
  if (picked.empty()) {
    SY_ASSIGN_OR_RETURN(picked, PickModel(paths, plan.source));
  }
  const auto graph = std::find_if(picked.begin(), picked.end(), IsSavedModel);
  for (const std::string& path : picked) {
    const auto is = [&path](const Value& file) { return file.IsObject() && TextOf(file, "rfilename") == path; };
    const auto list = facts["siblings"].GetArray();
    const auto file = std::find_if(list.begin(), list.end(), is);
    if (file == list.end()) return Error(StatusCode::kNotFound, "{}: it has no file {}", plan.source, Quote(path));
    PlannedFile planned;
    planned.url = fmt::format("{}/{}/resolve/{}/{}", endpoint, EncodePath(repository), EncodePath(commit), EncodePath(path));
    planned.to = fs::path(path).filename().string();
    if (graph != picked.end() && IsPartOfSavedModel(path, FolderOf(*graph))) planned.to = path.substr(FolderOf(*graph).size());
    if (!StaysInside(path)) planned.to = path;  // to be refused
    planned.bytes = SizeOf(*file, "size");
    const auto lfs = file->FindMember("lfs");
    if (lfs != file->MemberEnd() && lfs->value.IsObject()) {
      std::string hash = TextOf(lfs->value, "sha256").empty() ? TextOf(lfs->value, "oid") : TextOf(lfs->value, "sha256");
      if (hash.starts_with("sha256:")) hash.erase(0, 7);
      planned.expected = DigestOf(hash);
      if (const auto size = SizeOf(lfs->value, "size")) planned.bytes = size;
    } else {
      planned.expected = DigestOf(TextOf(*file, "blobId"));
    }
    plan.files.push_back(std::move(planned));
  }
  return plan;
}

StatusOr<PullPlan> CatalogPlan(const std::string& name, const Value& entry, const PullOptions& options, HttpClient& client,
                               const Retries::Say& say) {
  if (const std::string repository = TextOf(entry, "huggingface"); !repository.empty()) {
    const std::string pinned = TextOf(entry, "revision").empty() ? "main" : TextOf(entry, "revision");
    SY_ASSIGN_OR_RETURN(PullPlan plan,
                        HubPlan(repository, options.revision.empty() ? pinned : options.revision, options, client, say));
    plan.name = name;
    plan.note = TextOf(entry, "note");
    return plan;
  }
  PullPlan plan{.name = name,
                .source = "the catalogue's " + name,
                .files = {},
                .package = {},
                .secret_headers = {},
                .note = TextOf(entry, "note")};
  if (const auto package = entry.FindMember("package"); package != entry.MemberEnd() && package->value.IsObject()) {
    plan.package = {TextOf(package->value, "name"), TextOf(package->value, "version"), TextOf(package->value, "sha256"),
                    options.mirror};
  }
  const auto files = entry.FindMember("files");
  if (files == entry.MemberEnd() || !files->value.IsArray())
    return InvalidArgument("{}: expected a list of files", plan.source);
  for (const Value& file : files->value.GetArray()) {
    if (!file.IsObject()) return InvalidArgument("{}: expected a list of objects as files", plan.source);
    plan.files.push_back({.url = plan.package ? "" : Mirrored(TextOf(file, "url"), options.mirror),
                          .from = TextOf(file, "from"),
                          .to = TextOf(file, "to"),
                          .bytes = SizeOf(file, "bytes"),
                          .expected = DigestOf(TextOf(file, "sha256"))});
  }
  return plan;
}

StatusOr<PullPlan> UrlPlan(const PullOptions& options) {
  PullPlan plan;
  plan.source = ShownUrl(options.what);
  const std::string file = fs::path(plan.source).filename().string();
  plan.name = fs::path(file).stem().string();
  const std::string kind = Extension(file);
  const std::string companion = kind == ".xml" ? ".bin" : kind == ".pdmodel" ? ".pdiparams" : "";
  if (companion.empty() && kind != ".onnx" && kind != ".pb" && kind != ".tflite") {
    return InvalidArgument("{}: expected the URL of a .xml, .onnx, .pdmodel, .pb or .tflite file", plan.source);
  }
  const std::string url = Mirrored(options.what, options.mirror);
  plan.files.push_back({.url = url, .from = {}, .to = file, .bytes = {}, .expected = DigestOf(options.sha256)});
  if (companion.empty()) return plan;
  const size_t end = std::min(url.find_first_of("?#"), url.size());
  const std::string beside = url.substr(0, end - kind.size()) + companion + url.substr(end);
  plan.files.push_back({.url = beside, .from = {}, .to = Stem(file) + companion, .bytes = {}, .expected = {}});
  return plan;
}

StatusOr<PullPlan> AnyPlan(const PullOptions& options, HttpClient& client, const Retries::Say& say) {
  const std::string& what = options.what;
  if (what.starts_with("http://") || what.starts_with("https://")) return UrlPlan(options);
  if (what.find('/') != what.npos) {
    if (!StaysInside(what) || std::count(what.begin(), what.end(), '/') != 1) {
      return InvalidArgument("expected a name of the catalogue, ORGANIZATION/REPOSITORY or a URL, got {}", Quote(what));
    }
    return HubPlan(what, options.revision.empty() ? "main" : options.revision, options, client, say);
  }
  SY_ASSIGN_OR_RETURN(const rapidjson::Document catalog, ReadCatalog(options));
  const Value& models = catalog["models"];
  const auto entry = models.FindMember(what.c_str());
  if (entry != models.MemberEnd()) return CatalogPlan(what, entry->value, options, client, say);
  std::vector<std::string_view> names;
  for (const auto& model : models.GetObject()) names.emplace_back(model.name.GetString());
  const std::string_view nearest = Nearest(what, names);
  return Error(StatusCode::kNotFound, "the catalogue has no model {}{}; `switchyard pull --list` shows what it has",
               Quote(what), nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest));
}

}  // namespace

StatusOr<PullPlan> MakePullPlan(const PullOptions& options, HttpClient& client, const Retries::Say& say) {
  SY_ASSIGN_OR_RETURN(PullPlan plan, AnyPlan(options, client, say));
  if (!options.name.empty()) plan.name = options.name;
  SY_RETURN_IF_ERROR(CheckPaths(plan));
  return plan;
}

StatusOr<std::string> ListCatalog(const PullOptions& options) {
  SY_ASSIGN_OR_RETURN(const rapidjson::Document catalog, ReadCatalog(options));
  std::string text;
  for (const auto& model : catalog["models"].GetObject()) {
    text += fmt::format("{:<22} {}\n", model.name.GetString(), TextOf(model.value, "about"));
  }
  return text;
}

}  // namespace switchyard
