# srgan serve: no torch, no root. The compose file makes the file system read-only.
# The index of all platforms; `docker buildx imagetools inspect python:3.12-slim` prints the newest.
FROM python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea

RUN useradd --system --uid 10001 srgan && install --directory --owner srgan /data
WORKDIR /srgan
# Every dependency at one version and with its hash: the same image from the same commit.
COPY requirements/serve.txt ./requirements/
RUN pip install --no-cache-dir --require-hashes --requirement requirements/serve.txt
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir --no-deps .

USER 10001
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/healthz')"]
ENTRYPOINT ["srgan", "serve", "--host", "0.0.0.0", "--data", "/data"]
