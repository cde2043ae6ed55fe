# Images; everything else is ./start and ./test. Needs GNU make, and docker, podman or buildah.
#   make release_image [GPU=1] [NPU=1] [IMAGE=switchyard] [TAG=latest] [ENGINE=docker] [BASE=...] [JOBS=N] [BUILD_FLAGS=...]
# The tag is latest, latest-gpu, latest-npu or latest-gpu-npu if none is given. The base image is Debian 12; for the NPU alone
# Debian 13, whose Level Zero loader is new enough; with the GPU Debian 12 again, since Debian 13 has no driver for it.
.RECIPEPREFIX = >

IMAGE ?= switchyard
ENGINE ?= docker
JOBS ?=
BUILD_FLAGS ?=

devices := $(if $(filter 1,$(GPU)),gpu) $(if $(filter 1,$(NPU)),npu)
target := $(subst $() ,-,$(or $(strip $(devices)),cpu))
BASE ?= $(if $(filter npu,$(target)),debian:trixie-slim,debian:bookworm-slim)
TAG ?= latest$(if $(filter-out cpu,$(target)),-$(target))

.PHONY: help release_image
help:
> @sed -n 's/^# \{0,1\}//p' Makefile

release_image:
> $(ENGINE) build $(BUILD_FLAGS) -f deploy/docker/Dockerfile --target $(target) --build-arg BASE=$(BASE) \
>   $(if $(JOBS),--build-arg JOBS=$(JOBS)) -t $(IMAGE):$(TAG) .
