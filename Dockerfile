# vsr in a container, for a CPU:       docker build -t vsr .
# for an NVIDIA GPU:                   docker build -t vsr --build-arg TORCH=cu130 .
# with extras (see pyproject.toml):    docker build -t vsr --build-arg EXTRAS=tune,onnx .
# TORCH is a --torch-backend of uv: cpu, cu130 …, or auto, which asks the machine that builds.
#   docker run --rm -it --user "$(id -u):$(id -g)" -v "$PWD:/stories" vsr prepare my_stories/
#   docker run --rm -it --gpus all … vsr train

ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS build
ARG TORCH=cpu
ARG EXTRAS=
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /build
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY vsr_cli ./vsr_cli
COPY plugins ./plugins
# The versions that were tested; torch and torchvision from one index, or torchvision's operators do not load.
RUN python -m venv /opt/vsr \
 && /opt/vsr/bin/python -m pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt uv \
 && /opt/vsr/bin/uv pip install --no-cache --python /opt/vsr/bin/python --constraint constraints.txt \
      --torch-backend="${TORCH}" ".${EXTRAS:+[${EXTRAS}]}" \
 && /opt/vsr/bin/python -m pip uninstall --yes --quiet uv

FROM python:${PYTHON}-slim
# Fonts for texts in images beyond Latin, and letters that join (Arabic, Devanagari).
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --no-install-recommends --yes fontconfig fonts-noto-cjk fonts-noto-color-emoji fonts-noto-core libfribidi0 \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir --mode=1777 /cache
COPY --from=build /opt/vsr /opt/vsr
# /cache holds features and downloaded weights: mount a volume there to keep them. It can be written by any user.
ENV PATH=/opt/vsr/bin:$PATH \
    HOME=/cache \
    VSR_CACHE=/cache/vsr \
    HF_HOME=/cache/huggingface \
    TORCH_HOME=/cache/torch
VOLUME /cache
WORKDIR /stories
USER 1000:1000
ENTRYPOINT ["vsr"]
CMD ["--help"]
