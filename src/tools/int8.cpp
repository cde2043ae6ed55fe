#include "tools/int8.h"

#include <rapidjson/document.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/subprocess.h"
#include "tools/files.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using std::chrono::hours;
using std::chrono::minutes;

constexpr size_t kMaxReasonBytes = 600;

// Where quantize.py and requirements.txt are: in the installation, or in the checkout that this program was built in.
StatusOr<fs::path> ScriptFolder() {
  std::error_code error;
  const fs::path program = fs::canonical(OwnExecutable(), error).parent_path();
  for (const fs::path& folder : {program / "../share/switchyard/int8", program / "../../share/int8"}) {
    if (fs::is_regular_file(folder / "quantize.py", error)) return fs::canonical(folder, error);
  }
  return Error(StatusCode::kFailedPrecondition, "quantize.py is neither in {} nor in {}; install Switchyard as a whole",
               (program / "../share/switchyard/int8").lexically_normal().string(),
               (program / "../../share/int8").lexically_normal().string());
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::error_code error;
    std::string path = (fs::temp_directory_path(error) / "switchyard-int8-XXXXXX").string();
    if (mkdtemp(path.data()) != nullptr) path_ = path;
  }
  ~TemporaryFolder() {
    std::error_code error;
    if (!path_.empty()) fs::remove_all(path_, error);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;  // empty: it could not be made
};

// The last line that a program said, without the progress that it told: Python's errors say it all there.
std::string LastWords(const SubprocessResult& run) {
  size_t end = run.err.size();
  while (end > 0) {
    const size_t newline = run.err.rfind('\n', end - 1);
    const size_t begin = newline == std::string::npos ? 0 : newline + 1;
    const std::string line = run.err.substr(begin, end - begin);
    if (!line.empty() && !line.starts_with("progress: ")) return line.substr(0, kMaxReasonBytes);
    if (begin == 0) break;
    end = begin - 1;
  }
  return "";
}

std::string Reason(const SubprocessResult& run) {
  const std::string words = LastWords(run);
  return run.How() + (words.empty() ? "" : ": " + words);
}

// The Python of a new environment in `folder`/venv. What pip itself leaves behind when it is ended is in `folder`, too.
StatusOr<std::string> MakeEnvironment(const fs::path& folder, const fs::path& requirements,
                                      const std::function<void(const std::string&)>& progress,
                                      const std::atomic<bool>& cancelled) {
  const std::string remedy = "give --python a Python that has nncf and openvino";
  progress("making an environment for NNCF, which is thrown away in the end");
  const fs::path venv = folder / "venv";
  SY_ASSIGN_OR_RETURN(const SubprocessResult made,
                      RunSubprocess({"/usr/bin/env", "python3", "-m", "venv", venv.string()}, "", minutes(5), &cancelled));
  if (made.exit_code != 0) {
    return Error(StatusCode::kFailedPrecondition, "no environment can be made ({}); install python3 and python3-venv, or {}",
                 Reason(made), remedy);
  }
  const std::string python = (venv / "bin/python").string();
  progress("installing NNCF (some 150 MB are fetched, unless pip has them)");
  SY_ASSIGN_OR_RETURN(const SubprocessResult installed,
                      RunSubprocess({"/usr/bin/env", "TMPDIR=" + folder.string(), python, "-m", "pip", "install", "--quiet",
                                     "--disable-pip-version-check", "--require-hashes", "-r", requirements.string()},
                                    "", minutes(30), &cancelled));
  if (installed.exit_code != 0) {
    return Error(StatusCode::kFailedPrecondition, "NNCF cannot be installed ({}); the network is needed, or {}",
                 Reason(installed), remedy);
  }
  return python;
}

StatusOr<Int8Result> ReadResult(const std::string& path) {
  SY_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  rapidjson::Document json;
  json.Parse<rapidjson::kParseIterativeFlag>(text.data(), text.size());
  const auto number = [&json](const char* key) -> std::optional<double> {
    const auto found = json.FindMember(key);
    if (found == json.MemberEnd() || !found->value.IsNumber()) return std::nullopt;
    return found->value.GetDouble();
  };
  if (json.HasParseError() || !json.IsObject() || !number("samples"))
    return Error(StatusCode::kInternal, "quantize.py wrote no result");
  return Int8Result{.calibrated_with = static_cast<int>(number("calibrated_with").value_or(0)),
                    .made_up = json.HasMember("made_up") && json["made_up"].IsTrue(),
                    .samples = static_cast<int>(*number("samples")),
                    .largest_difference = number("largest_difference").value_or(0),
                    .largest_value = number("largest_value").value_or(0),
                    .mean_difference = number("mean_difference").value_or(0),
                    .top1_agreement = number("top1_agreement"),
                    .accuracy_fp32 = number("accuracy_fp32"),
                    .accuracy_int8 = number("accuracy_int8")};
}

}  // namespace

StatusOr<Int8Result> QuantizeToInt8(const Int8Request& request, const std::function<void(const std::string&)>& progress,
                                    const std::atomic<bool>& cancelled) {
  SY_ASSIGN_OR_RETURN(const fs::path scripts, ScriptFolder());
  const TemporaryFolder temporary;
  if (temporary.path().empty()) {
    return Error(StatusCode::kFailedPrecondition, "no folder for temporary files can be made; set TMPDIR to one with room");
  }
  std::string python = request.python;
  if (python.empty()) {
    SY_ASSIGN_OR_RETURN(python, MakeEnvironment(temporary.path(), scripts / "requirements.txt", progress, cancelled));
  }
  const std::string result = (temporary.path() / "result.json").string();
  std::vector<std::string> command = {python,      (scripts / "quantize.py").string(),
                                      "--model",   request.fp32_xml,
                                      "--output",  request.int8_xml,
                                      "--result",  result,
                                      "--samples", std::to_string(request.samples)};
  for (const std::string& file : request.calibration) command.insert(command.end(), {"--calibration", file});
  if (!request.labels.empty()) command.insert(command.end(), {"--labels", request.labels});
  progress("quantizing, and comparing with FP32");
  SY_ASSIGN_OR_RETURN(const SubprocessResult run, RunSubprocess(command, "", hours(12), &cancelled));
  if (run.exit_code != 0) {
    // What is wrong with a file the script says in its own words, and ends.
    const std::string words = LastWords(run);
    const bool own = run.exit_code == 1 && !words.empty() && run.err.find("Traceback") == std::string::npos;
    if (own) return InvalidArgument("{}", words);
    return Error(StatusCode::kInternal, "{} does not quantize the model: {}", python, Reason(run));
  }
  return ReadResult(result);
}

}  // namespace switchyard
