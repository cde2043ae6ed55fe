// What is to be fetched for a name of the catalogue, a repository of Hugging Face, or a URL.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fetch/download.h"

namespace switchyard {

struct PullOptions {
  std::string what;
  std::string repository;
  std::string name;                // of the model's folder; empty: as the source has it
  std::string revision;            // Hugging Face; empty: main
  std::string sha256;              // of the file of a URL
  std::string mirror;              // in place of the host (files), the hub (Hugging Face) or the package index
  std::string catalog;             // the file; empty: the one that came with the program
  std::vector<std::string> files;  // Hugging Face: these alone
  int tries = 5;
  bool json = false;
  bool list = false;
  bool help = false;
};

struct PlannedFile {
  std::string url;   // empty: `from` of the package
  std::string from;  // in the package
  std::string to;    // below the version's folder
  std::optional<uint64_t> bytes;
  ExpectedDigest expected;
};

struct PullPlan {
  std::string name;
  std::string source;  // for messages: with the revision
  std::vector<PlannedFile> files;
  struct Package {
    std::string name, version, sha256, index;  // index: empty: as pip is configured
  };
  std::optional<Package> package;
  std::vector<std::string> secret_headers;
  std::string note;  // what to do next
};

// Asks the hub, where it is one. A path of the catalogue or of a server that would leave the folder is InvalidArgument.
StatusOr<PullPlan> MakePullPlan(const PullOptions& options, HttpClient& client, const Retries::Say& say);
// "NAME  text" of every entry of the catalogue.
StatusOr<std::string> ListCatalog(const PullOptions& options);

}  // namespace switchyard
