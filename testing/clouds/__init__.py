"""Cloud storage on loopback: S3, Google Cloud Storage, Azure Blob and Azure Files, that check who calls and can misbehave.

    with S3() as cloud:
        cloud.put("models/dummy/1/model.xml", data)
        ... start a program with cloud.env() and cloud.url("models/dummy") ...
        cloud.on("model.bin", cut=1000, times=1)    # the next answer about it breaks off
        cloud.away(); cloud.back()                  # connections are refused meanwhile
        cloud.calls                                 # what came, and what was answered

What is behind them: moto for S3 and STS, gcp-storage-emulator for Google; Azure's are small ones of our own. Signatures are
held against those that the services' own clients make (botocore, azure-storage-blob), Google's tokens against the key.
"""

from testing.clouds.azure import AzureBlob, AzureFiles
from testing.clouds.front import Authority
from testing.clouds.google import Google
from testing.clouds.s3 import S3

__all__ = ["S3", "Authority", "AzureBlob", "AzureFiles", "Google"]
