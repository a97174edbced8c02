# syntax=docker/dockerfile:1
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# The environment carries no pip of its own: the pip of this stage fills it, and stays behind.
RUN python -m venv --without-pip /opt/streamproc
COPY pyproject.toml README.md ./
COPY streamproc/ streamproc/
RUN pip --python /opt/streamproc/bin/python install "./[archive]"

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="streamproc" \
      org.opencontainers.image.description="Exact hourly metrics of live-dubbing segments, from Redis Streams to MongoDB" \
      org.opencontainers.image.version="0.1.0"
# A numeric user, so that Kubernetes can verify runAsNonRoot without reading /etc/passwd of the image.
RUN groupadd --system --gid 10001 streamproc \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin streamproc \
 && pip uninstall --yes --root-user-action=ignore pip
COPY --from=build /opt/streamproc /opt/streamproc
# Unbuffered, so that the ready line and the last log lines of a killed process are seen. The root may be read-only.
ENV PATH=/opt/streamproc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    STREAMPROC_WEB_HOST=0.0.0.0 \
    STREAMPROC_WEB_PORT=8080
WORKDIR /opt/streamproc
USER 10001:10001
EXPOSE 8080
# http.client and not urllib: a proxy set in the environment must not stand between the container and itself.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['STREAMPROC_WEB_PORT']), timeout=2); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["streamproc"]
