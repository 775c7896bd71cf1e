# Builds with the classic builder too: no mounts, no heredocs.
FROM python:3.11-slim-bookworm AS wanted
COPY pyproject.toml /
RUN python3 -c 'import tomllib; print(*tomllib.load(open("/pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
    > /requirements.txt

FROM python:3.11-slim-bookworm AS build

# More options for pip, for example an index with CPU builds of torch (the image is gigabytes smaller).
ARG PIP_ARGS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv /opt/assistant
# Dependencies change less often than code: they get a layer of their own, made anew only when one of
# them changes.
COPY constraints.txt ./
COPY --from=wanted /requirements.txt ./
RUN /opt/assistant/bin/pip install $PIP_ARGS -c constraints.txt -r requirements.txt
COPY . .
RUN /opt/assistant/bin/pip install $PIP_ARGS --no-deps .

FROM python:3.11-slim-bookworm

# A new volume takes over owner and mode of the folder that it covers.
RUN groupadd --gid 1000 assistant \
    && useradd --uid 1000 --gid 1000 --create-home assistant \
    && install -d -o 1000 -g 1000 -m 0700 /data /store /credentials
COPY --from=build /opt/assistant /opt/assistant
ENV PATH=/opt/assistant/bin:$PATH \
    ASSISTANT_HOME=/data \
    ASSISTANT_HOST=0.0.0.0 \
    PYTHONUNBUFFERED=1
USER 1000:1000
WORKDIR /data
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["assistant"]
CMD ["up"]
