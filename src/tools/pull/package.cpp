#include "tools/pull/package.h"

#include <absl/cleanup/cleanup.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <system_error>
#include <vector>

#include "base/subprocess.h"
#include "config/text.h"
#include "fetch/digest.h"
#include "tools/command.h"
#include "tools/files.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

// An index's pages are smaller, and asked for again anyway.
constexpr uint64_t kWorthKeeping = 1 << 20;
constexpr auto kLook = std::chrono::milliseconds(100);

struct Folders {
  explicit Folders(const fs::path& work) : wheel(work / "wheel"), cache(work / "pip-cache"), temporary(work / "pip-tmp") {}
  fs::path wheel;      // what pip fetched
  fs::path cache;      // pip's own
  fs::path temporary;  // where it fetches to, and where it is unpacked
};

// Of the largest file in the folder.
uint64_t LargestIn(const fs::path& folder) {
  uint64_t largest = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const uint64_t bytes = it->is_regular_file(ignored) ? it->file_size(ignored) : 0;
    if (!ignored) largest = std::max(largest, bytes);
  }
  return largest;
}

// The package as it was asked for, or nothing.
fs::path FindWheel(const Folders& folders, const PullPlan::Package& package) {
  const ExpectedDigest expected = DigestOf(package.sha256);
  if (expected.kind == ExpectedDigest::Kind::kNone) return {};
  std::error_code error;
  for (fs::directory_iterator it(folders.wheel, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != ".whl") continue;
    const auto digests = DigestsOf(it->path().string(), {expected.kind});
    if (digests.ok() && Mismatch(*digests, expected).empty()) return it->path();
  }
  return {};
}

std::vector<std::string> PipCommand(const PullPlan::Package& package, const Folders& folders, const std::string& list,
                                    int tries) {
  std::vector<std::string> command = {"/usr/bin/env", "TMPDIR=" + folders.temporary.string(),
                                      // Of a transfer that breaks off; earlier than 25.1 it does not know this.
                                      fmt::format("PIP_RESUME_RETRIES={}", tries), "python3", "-m", "pip", "download",
                                      "--quiet", "--disable-pip-version-check", "--cache-dir", folders.cache.string(),
                                      "--retries", std::to_string(tries), "--no-deps",
                                      "--only-binary=:all:", "--require-hashes", "--python-version", "3.11", "--implementation",
                                      "cp", "--abi", "cp311", "--abi", "none"};
  for (const char* platform : {"manylinux_2_28_x86_64", "manylinux_2_27_x86_64"})
    command.insert(command.end(), {"--platform", platform});
  if (!package.index.empty()) command.insert(command.end(), {"--index-url", package.index});
  command.insert(command.end(), {"-d", folders.wheel.string(), "-r", list});
  return command;
}

Status RunPip(const PullPlan::Package& package, const Folders& folders, int tries, const std::atomic<bool>& interrupted,
              PullProgress& progress) {
  const std::string name = fmt::format("{} {}", package.name, package.version);
  const std::string list = (folders.temporary / "requirements.txt").string();
  SY_RETURN_IF_ERROR(WriteFile(list, fmt::format("{}=={} --hash=sha256:{}\n", package.name, package.version, package.sha256)));
  progress.Say(name + ": asking pip for the package that carries the model");
  auto running = std::async(std::launch::async, [&interrupted, command = PipCommand(package, folders, list, tries)] {
    return RunSubprocess(command, "", std::chrono::hours(1), &interrupted);
  });
  const uint64_t before = LargestIn(folders.temporary);
  while (running.wait_for(kLook) != std::future_status::ready) {
    if (const uint64_t bytes = LargestIn(folders.temporary); bytes > before) progress.At(name, bytes, 0);
  }
  SY_ASSIGN_OR_RETURN(const SubprocessResult fetched, running.get());
  if (fetched.exit_code == 0) return absl::OkStatus();
  std::error_code error;
  // It would be taken from the cache for ever.
  const bool damaged = fetched.err.find("MATCH THE HASHES") != std::string::npos;
  if (damaged || LargestIn(folders.cache) < kWorthKeeping) fs::remove_all(folders.cache, error);
  const std::string words(Trim(fetched.err));
  return Error(StatusCode::kUnavailable,
               "pip did not fetch {} ({}): {}; it needs python3 with pip, and an index that has it: pip's configuration or "
               "--mirror names one",
               name, fetched.How(), words.substr(words.rfind('\n') + 1));
}

Status MakeFolders(const Folders& folders) {
  std::error_code error;
  fs::remove_all(folders.temporary, error);  // of a pull that was ended
  for (const fs::path& folder : {folders.wheel, folders.cache, folders.temporary}) {
    fs::create_directories(folder, error);
    if (error) return Error(StatusCode::kPermissionDenied, "cannot make {}: {}", folder.string(), error.message());
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::map<std::string, FileDigests>> FetchPackage(const PullPlan& plan, const fs::path& work, const fs::path& files,
                                                          int tries, PullProgress& progress) {
  const PullPlan::Package& package = *plan.package;
  const std::atomic<bool>& interrupted = CatchInterrupts();
  // As an absolute path: pip is told of it by the environment as well.
  std::error_code error;
  const Folders folders(fs::absolute(work, error));
  SY_RETURN_IF_ERROR(MakeFolders(folders));
  const absl::Cleanup leave = [&folders] {
    std::error_code ignored;
    fs::remove_all(folders.temporary, ignored);
  };
  const std::string name = fmt::format("{} {}", package.name, package.version);
  fs::path wheel = FindWheel(folders, package);
  if (!wheel.empty()) {
    progress.Say(name + ": the package is here already, from a pull that was ended");
  } else {
    SY_RETURN_IF_ERROR(RunPip(package, folders, tries, interrupted, progress));
    wheel = FindWheel(folders, package);
    if (wheel.empty()) return Error(StatusCode::kDataLoss, "pip fetched {}, but not the package with this hash", name);
    const uint64_t bytes = fs::file_size(wheel, error);
    progress.At(name, bytes, bytes);
  }
  const fs::path content = folders.temporary / "content";
  SY_ASSIGN_OR_RETURN(const SubprocessResult unpacked,
                      RunSubprocess({"/usr/bin/env", "python3", "-m", "zipfile", "-e", wheel.string(), content.string()}, "",
                                    std::chrono::minutes(10), &interrupted));
  if (unpacked.exit_code != 0) {
    return Error(StatusCode::kResourceExhausted, "{} cannot be unpacked ({}); is the disk full?", wheel.string(),
                 unpacked.How());
  }
  std::map<std::string, FileDigests> taken;
  for (const PlannedFile& file : plan.files) {
    const fs::path from = content / file.from;
    SY_ASSIGN_OR_RETURN(FileDigests found, DigestsOf(from.string(), {ExpectedDigest::Kind::kSha256, file.expected.kind}));
    if (const std::string wrong = Mismatch(found, file.expected); !wrong.empty()) {
      return Error(StatusCode::kDataLoss, "{} of {}: {}", file.from, name, wrong);
    }
    fs::create_directories((files / file.to).parent_path(), error);
    fs::rename(from, files / file.to, error);
    if (error) return Error(StatusCode::kInternal, "cannot move {}: {}", from.string(), error.message());
    taken[file.to] = std::move(found);
  }
  return taken;
}

}  // namespace switchyard
