// Azure's blobs (https://learn.microsoft.com/rest/api/storageservices/list-blobs) and files (.../list-directories-and-files).
#include <utility>

#include "repository/cloud/azure_account.h"
#include "repository/cloud/object_store.h"
#include "repository/cloud/store_answers.h"

namespace switchyard {
namespace {

constexpr std::string_view kAzureRemedy = "check AZURE_STORAGE_CONNECTION_STRING, and that its account may list and read there";
constexpr int kMostFolderLevels = 8;  // of folders in folders

std::string WithoutQuotes(std::string text) {
  std::erase(text, '"');
  return text;
}

// A name that XML cannot hold as it is comes encoded.
std::string NameIn(const pugi::xml_node& entry) {
  const pugi::xml_node name = entry.child("Name");
  return name.attribute("Encoded").as_bool() ? DecodeComponent(name.child_value()) : std::string(name.child_value());
}

class AzureStore : public ObjectStore {
 public:
  AzureStore(CloudUrl url, AzureAccount account, HttpClient& client)
      : url_(std::move(url)), account_(std::move(account)), client_(client) {}

 protected:
  FetchRequest Request(std::string url) {
    FetchRequest request{.url = std::move(url), .headers = {}, .secret_headers = {}, .follow = false};
    request.authorize = [this](FetchRequest& sent) { return account_.Authorize(sent); };
    return request;
  }

  // One page after another: `take` is told of each <EnumerationResults>.
  template <typename Take>
  Status ListPages(const std::string& url, const Take& take) {
    std::string marker;
    do {
      FetchRequest request = Request(marker.empty() ? url : url + "&marker=" + EncodeComponent(marker));
      if (url_.service == CloudUrl::Service::kAzureFiles) request.headers.push_back("x-ms-file-extended-info: true");
      SY_ASSIGN_OR_RETURN(const HttpAnswer answer, AskStore(client_, request));
      if (answer.status != 200) return StoreFault(answer, url_.Text(), kAzureRemedy);
      pugi::xml_document xml;
      SY_RETURN_IF_ERROR(ParseXml(answer, &xml));
      const pugi::xml_node results = xml.child("EnumerationResults");
      if (!results) return Error(StatusCode::kUnavailable, "{}: expected <EnumerationResults>", answer.url);
      take(results);
      marker = results.child_value("NextMarker");
      SY_RETURN_IF_ERROR(CheckListing(++pages_, objects_.size(), url_.Text()));
    } while (!marker.empty());
    return absl::OkStatus();
  }

  const CloudUrl url_;
  const AzureAccount account_;
  HttpClient& client_;
  std::vector<StoredObject> objects_;
  size_t pages_ = 0;  // of one listing
};

class BlobStore : public AzureStore {
 public:
  using AzureStore::AzureStore;

  StatusOr<std::vector<StoredObject>> List() override {
    objects_.clear();
    pages_ = 0;
    const std::string prefix = PrefixOf(url_.folder);
    const auto take = [&](const pugi::xml_node& results) {
      for (const pugi::xml_node blob : results.child("Blobs").children("Blob")) {
        const std::string name = NameIn(blob);
        const pugi::xml_node facts = blob.child("Properties");
        // Folders of a hierarchical namespace are listed as blobs too.
        if (!name.starts_with(prefix) || std::string_view(facts.child_value("ResourceType")) == "directory") continue;
        objects_.push_back({name.substr(prefix.size()), facts.child("Content-Length").text().as_ullong(),
                            WithoutQuotes(facts.child_value("Etag"))});
      }
    };
    SY_RETURN_IF_ERROR(
        ListPages(fmt::format("{}?restype=container&comp=list&prefix={}", Container(), EncodeComponent(prefix)), take));
    return std::move(objects_);
  }

  FetchRequest Get(const StoredObject& object) override {
    FetchRequest request = Request(Container() + "/" + EncodePath(PrefixOf(url_.folder) + object.key));
    if (!object.tag.empty()) request.headers.push_back(fmt::format("If-Match: \"{}\"", object.tag));
    return request;
  }

 private:
  std::string Container() const { return account_.blob_endpoint() + "/" + url_.bucket; }
};

class FileStore : public AzureStore {
 public:
  using AzureStore::AzureStore;

  StatusOr<std::vector<StoredObject>> List() override {
    objects_.clear();
    pages_ = 0;
    SY_RETURN_IF_ERROR(ListFolder("", 0));
    return std::move(objects_);
  }

  // This service knows no condition for reading: whether it was the same file is seen by listing again.
  FetchRequest Get(const StoredObject& object) override {
    return Request(Share() + "/" + EncodePath(PrefixOf(url_.folder) + object.key));
  }

 private:
  std::string Share() const { return account_.file_endpoint() + "/" + url_.bucket; }

  Status ListFolder(const std::string& below, int level) {
    std::vector<std::string> folders;
    const auto take = [&](const pugi::xml_node& results) {
      for (const pugi::xml_node entry : results.child("Entries").children()) {
        const std::string path = below + NameIn(entry);
        const pugi::xml_node facts = entry.child("Properties");
        if (std::string_view(entry.name()) == "Directory") {
          folders.push_back(path + "/");
        } else if (std::string_view(entry.name()) == "File") {
          const std::string etag = WithoutQuotes(facts.child_value("Etag"));
          objects_.push_back({path, facts.child("Content-Length").text().as_ullong(),
                              etag.empty() ? std::string(facts.child_value("LastWriteTime")) : etag});
        }
      }
    };
    std::string folder = EncodePath(PrefixOf(url_.folder) + below);
    while (folder.ends_with('/')) folder.pop_back();
    SY_RETURN_IF_ERROR(ListPages(
        fmt::format("{}{}{}?restype=directory&comp=list&include=Timestamps%2CETag", Share(), folder.empty() ? "" : "/", folder),
        take));
    if (level == kMostFolderLevels && !folders.empty()) {
      return Error(StatusCode::kFailedPrecondition, "{} has folders more than {} deep, which is no model's", url_.Text(),
                   kMostFolderLevels);
    }
    for (const std::string& next : folders) {
      SY_RETURN_IF_ERROR(ListFolder(next, level + 1));
    }
    return absl::OkStatus();
  }
};

template <typename Store>
StatusOr<std::unique_ptr<ObjectStore>> Open(const CloudUrl& url, HttpClient& client,
                                            const std::string& (AzureAccount::*endpoint)() const, std::string_view key) {
  SY_ASSIGN_OR_RETURN(AzureAccount account, AzureAccount::FromEnvironment());
  if ((account.*endpoint)().empty()) {
    return Error(StatusCode::kFailedPrecondition, "AZURE_STORAGE_CONNECTION_STRING has no {} and no AccountName", key);
  }
  return std::make_unique<Store>(url, std::move(account), client);
}

}  // namespace

StatusOr<std::unique_ptr<ObjectStore>> OpenAzureBlob(const CloudUrl& url, HttpClient& client) {
  return Open<BlobStore>(url, client, &AzureAccount::blob_endpoint, "BlobEndpoint");
}

StatusOr<std::unique_ptr<ObjectStore>> OpenAzureFiles(const CloudUrl& url, HttpClient& client) {
  return Open<FileStore>(url, client, &AzureAccount::file_endpoint, "FileEndpoint");
}

}  // namespace switchyard
