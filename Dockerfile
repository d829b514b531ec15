# ferops with all that it needs; the project folder is mounted (docs/containers.md). A Bento has an image of its own.
FROM python:3.12-slim AS build
ENV PATH=/opt/ferops/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/ferops
COPY requirements.lock ./
# As `make install`: every file has a hash, and setuptools comes first to build what has no wheel
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements.lock > setuptools.lock \
 && pip install --require-hashes --no-deps --requirement setuptools.lock
RUN pip install --require-hashes --no-deps --no-build-isolation --requirement requirements.lock
COPY . ./
RUN pip install --no-deps --no-build-isolation . && pip check

FROM python:3.12-slim
RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/ferops /opt/ferops
# Any user may run it (docker run --user): the home folder is temporary, and libraries ask for a name
ENV PATH=/opt/ferops/bin:$PATH HOME=/tmp USER=ferops DO_NOT_TRACK=true DVC_NO_ANALYTICS=1 BENTOML_DO_NOT_TRACK=True \
    GX_ANALYTICS_ENABLED=false HF_HUB_DISABLE_TELEMETRY=1 MLFLOW_DISABLE_TELEMETRY=true PREFECT_SERVER_ANALYTICS_ENABLED=false
USER 1000:1000
WORKDIR /project
ENTRYPOINT ["ferops"]
CMD ["--help"]
